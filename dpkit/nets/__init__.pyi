from .early_exits import (
    EarlyExitNet as EarlyExitNet,
)
from .early_exits import (
    exit_loss as exit_loss,
)
from .early_exits import (
    leave_early as leave_early,
)
from .fast import (
    FastCNN as FastCNN,
)
from .fast import (
    fast_cnn as fast_cnn,
)
from .fast import (
    fast_cnn_narrow as fast_cnn_narrow,
)
from .fast import (
    fast_cnn_wide as fast_cnn_wide,
)
from .models import (
    StagedNet as StagedNet,
)
from .models import (
    eval_mode as eval_mode,
)
from .models import (
    mobilenet_v3_large as mobilenet_v3_large,
)
from .models import (
    mobilenet_v3_small as mobilenet_v3_small,
)
from .models import (
    resnet18 as resnet18,
)
from .models import (
    resnet34 as resnet34,
)
from .models import (
    resnet50 as resnet50,
)
from .models import (
    small_cnn as small_cnn,
)
