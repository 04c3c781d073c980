"""What epsball.h says: numbers, structs and functions."""

from ctypes import (
    POINTER,
    Structure,
    c_char,
    c_char_p,
    c_double,
    c_int32,
    c_int64,
    c_size_t,
    c_uint32,
    c_uint64,
    c_void_p,
)

ABI_VERSION = 1
OK = 0
ERR_ARGUMENT = 1
ERR_HANDLE = 2
ERR_FILE = 3
ERR_MODEL = 4
ERR_UNSUPPORTED = 5
ERR_CANCELLED = 6
ERR_TIMEOUT = 7
ERR_INTERNAL = 8
ERR_SIZE = 512
RESISTED = 0
FOOLED = 1
WRONG = 2
NOT_DONE = 255


class Options(Structure):
    _fields_ = [("struct_size", c_uint32), ("threads", c_uint32), ("isa", c_char_p),
                ("few_images", c_uint32), ("in_place", c_uint32)]


class Info(Structure):
    _fields_ = [("struct_size", c_uint32), ("classes", c_uint32), ("channels", c_uint32), ("rows", c_uint32),
                ("columns", c_uint32), ("reserved", c_uint32), ("bytes", c_uint64), ("hash", c_char * 72)]


class AttackOptions(Structure):
    _fields_ = [("struct_size", c_uint32), ("timeout_ms", c_uint32), ("method", c_char_p), ("steps", c_uint32),
                ("restarts", c_uint32), ("step_size", c_double), ("seed", c_uint64), ("random_start", c_uint32),
                ("lattice", c_uint32)]


class CertifyOptions(Structure):
    _fields_ = [("struct_size", c_uint32), ("timeout_ms", c_uint32), ("method", c_char_p)]


_ERR = (c_void_p, c_size_t)
_BALL = (c_void_p, c_void_p, c_int64, c_void_p, c_char_p, c_char_p)  # model, images, n, labels, norm, eps

# The result and the arguments of each function.
FUNCTIONS = {
    "epsball_abi_version": (c_uint32,),
    "epsball_version": (c_char_p,),
    "epsball_code_name": (c_char_p, c_int32),
    "epsball_load": (c_int32, c_char_p, POINTER(Options), POINTER(c_void_p), *_ERR),
    "epsball_load_memory": (c_int32, c_void_p, c_size_t, c_char_p, POINTER(Options), POINTER(c_void_p), *_ERR),
    "epsball_close": (c_int32, c_void_p),
    "epsball_cancel": (c_int32, c_void_p),
    "epsball_get_info": (c_int32, c_void_p, POINTER(Info), *_ERR),
    "epsball_classify": (c_int32, c_void_p, c_void_p, c_int64, c_void_p, c_void_p, *_ERR),
    "epsball_attack": (c_int32, *_BALL, POINTER(AttackOptions), c_void_p, c_void_p, *_ERR),
    "epsball_certify": (c_int32, *_BALL, POINTER(CertifyOptions), c_void_p, c_void_p, *_ERR),
}
