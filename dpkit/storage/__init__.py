"""Whole files and folders, locks, hashes, arrays on disk; what code and machine a result is of."""

from dpkit.storage.claims import claimed
from dpkit.storage.disks import DiskFault, UnusablePlace, check_folder, disk_fault
from dpkit.storage.files import (
    IGNORED_FILES,
    building_folder,
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
    "DiskFault",
    "UnusablePlace",
    "building_folder",
    "cache_folder",
    "check_folder",
    "check_nothing_foreign",
    "check_replaceable",
    "claimed",
    "data_folder",
    "disk_fault",
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
