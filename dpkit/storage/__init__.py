"""Whole files and folders, locks, hashes, arrays on disk; what code and machine a result is of."""

from dpkit.storage.files import (
    IGNORED_FILES,
    cache_folder,
    check_nothing_foreign,
    check_replaceable,
    data_folder,
    file_hash,
    key_hash,
    load_arrays,
    locked,
    plain,
    read_manifest,
    save_arrays,
    swap_in,
    whole_file,
    whole_folder,
    write_json,
)

__all__ = [
    "IGNORED_FILES",
    "cache_folder",
    "check_nothing_foreign",
    "check_replaceable",
    "data_folder",
    "file_hash",
    "key_hash",
    "load_arrays",
    "locked",
    "plain",
    "read_manifest",
    "save_arrays",
    "swap_in",
    "whole_file",
    "whole_folder",
    "write_json",
]
