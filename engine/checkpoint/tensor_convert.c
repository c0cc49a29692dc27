/* Floating-point tensors of any width as float32 or float64. Data may be unaligned, so every element is
 * loaded through memcpy, which compilers turn into one load. */
#include "engine/checkpoint/tensors.h"

#include <math.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "files are little-endian, loads are native");

static float from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* binary16: 1 sign, 5 exponent (bias 15), 10 mantissa bits. Exact in binary32. */
static float from_half(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000U) << 16;
    uint32_t exponent = (half >> 10) & 0x1fU;
    uint32_t mantissa = half & 0x3ffU;
    if (exponent == 0) { /* zero and subnormals: mantissa * 2^-24 */
        return copysignf((float)mantissa * 0x1p-24F, from_bits(sign | 0x3f800000U));
    }
    uint32_t widened = exponent == 0x1f ? 0xffU : exponent + (127 - 15);
    return from_bits(sign | widened << 23 | mantissa << 13);
}

static uint16_t load_16(const unsigned char *data, size_t index)
{
    uint16_t value;
    memcpy(&value, data + index * sizeof value, sizeof value);
    return value;
}

static float load_float(const unsigned char *data, size_t index)
{
    float value;
    memcpy(&value, data + index * sizeof value, sizeof value);
    return value;
}

static double load_double(const unsigned char *data, size_t index)
{
    double value;
    memcpy(&value, data + index * sizeof value, sizeof value);
    return value;
}

/* Brain float: the upper half of a binary32. */
static float load_brain(const unsigned char *data, size_t index)
{
    return from_bits((uint32_t)load_16(data, index) << 16);
}

static fm_status fail_dtype(const fm_tensor *tensor, fm_error *err)
{
    return fm_fail(err, FM_EFORMAT,
                   "tensor \"%s\": dtype: expected one of F64, F32, F16, BF16, found %s",
                   tensor->name, fm_dtype_name(tensor->dtype));
}

#define CONVERT(type, load)                                                                        \
    for (size_t i = 0; i < tensor->count; i++) {                                                   \
        ret[i] = (type)(load);                                                                     \
    }                                                                                              \
    return FM_OK;

fm_status fm_tensor_to_float32(const fm_tensor *tensor, float *ret, fm_error *err)
{
    const unsigned char *data = tensor->data;
    switch ((int)tensor->dtype) {
    case FM_DTYPE_F64:
        CONVERT(float, load_double(data, i))
    case FM_DTYPE_F32:
        if (tensor->size_bytes > 0) { /* memcpy() takes no NULL, even for nothing */
            memcpy(ret, data, tensor->size_bytes);
        }
        return FM_OK;
    case FM_DTYPE_F16:
        CONVERT(float, from_half(load_16(data, i)))
    case FM_DTYPE_BF16:
        CONVERT(float, load_brain(data, i))
    default:
        return fail_dtype(tensor, err);
    }
}

fm_status fm_tensor_to_float64(const fm_tensor *tensor, double *ret, fm_error *err)
{
    const unsigned char *data = tensor->data;
    switch ((int)tensor->dtype) {
    case FM_DTYPE_F64:
        if (tensor->size_bytes > 0) {
            memcpy(ret, data, tensor->size_bytes);
        }
        return FM_OK;
    case FM_DTYPE_F32:
        CONVERT(double, load_float(data, i))
    case FM_DTYPE_F16:
        CONVERT(double, from_half(load_16(data, i)))
    case FM_DTYPE_BF16:
        CONVERT(double, load_brain(data, i))
    default:
        return fail_dtype(tensor, err);
    }
}
