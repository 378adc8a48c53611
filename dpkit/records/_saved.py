"""save and load, as all records have them."""

from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from dpkit import storage


class Saved:
    """save and load for the records: every array becomes a .npy, the rest goes into params."""

    _schema: ClassVar[int] = 1
    _arrays: ClassVar[tuple[str, ...]]
    _plain: ClassVar[tuple[str, ...]] = ()
    _optional: ClassVar[tuple[str, ...]] = ()
    params: dict

    def save(self, folder: str | Path) -> Path:
        """Write the record into `folder`, whole or not at all; replaces an earlier record there.

        Returns
        -------
        The folder.
        """
        params = {**self.params, **{f"_{name}": getattr(self, name) for name in self._plain}}
        arrays = {name: getattr(self, name) for name in self._arrays}
        return storage.save_arrays(
            folder, kind=type(self).__name__, schema=self._schema, arrays=arrays, params=params
        )

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read a record that `save` wrote. ValueError if a file is missing or altered."""
        arrays, params = storage.load_arrays(folder, kind=cls.__name__, schema=cls._schema)
        lacking = [name for name in cls._arrays if name not in arrays and name not in cls._optional]
        lacking += [name for name in cls._plain if f"_{name}" not in params]
        if lacking:
            raise ValueError(
                f"{folder}/manifest.json is damaged (it lacks {', '.join(lacking)}); make the "
                "record again or fetch a whole copy"
            )
        plain = {name: params.pop(f"_{name}") for name in cls._plain}
        fields = {name: arrays.get(name) for name in cls._arrays} | plain | {"params": params}
        return cls(**fields)

    def _set(self, **values):
        for name, value in values.items():
            if isinstance(value, np.ndarray):
                value = value.view()
                value.flags.writeable = False
            object.__setattr__(self, name, value)
