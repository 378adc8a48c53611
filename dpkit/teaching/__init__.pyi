from . import checks as checks
from . import explorers as explorers
from . import two_point as two_point
