/* The bounds of what a PyTorch file may ask of the reader, in one place. They lie far above what torch.save()
 * writes for any network, and low enough that a file of a few kilobytes cannot take gigabytes. */
#ifndef FM_PYTORCH_LIMITS_H
#define FM_PYTORCH_LIMITS_H

#include <stddef.h>

#define FM_ZIP_MAX_RECORDS    ((size_t)1 << 17) /* files in the archive */
#define FM_ZIP_MAX_NAME_BYTES ((size_t)512)
/* Memory that one file may take beside its mapping, for what cannot be used in place: records that are
 * compressed, tensors that are not contiguous. */
#define FM_PYTORCH_COPY_BYTES    ((size_t)64 << 20) /* whatever the file's size, and */
#define FM_PYTORCH_COPIES        ((size_t)16)       /* so many times the file's size */
#define FM_PICKLE_MAX_BYTES      ((size_t)64 << 20) /* data.pkl */
#define FM_PICKLE_MAX_VALUES     ((size_t)1 << 22)
#define FM_PICKLE_MAX_ITEMS      ((size_t)1 << 23) /* of all lists and dicts together */
#define FM_PICKLE_MAX_STACK      ((size_t)1 << 20)
#define FM_PICKLE_MAX_MARKS      ((size_t)256) /* containers open at once */
#define FM_PICKLE_MAX_MEMO       ((size_t)1 << 22)
#define FM_PICKLE_MAX_NAME_BYTES ((size_t)256)     /* of a class, module and all */
#define FM_PYTORCH_MAX_TENSORS   ((size_t)1 << 17) /* in a state dict */
#define FM_PYTORCH_MAX_NAME      ((size_t)1024)    /* bytes of a tensor's name */
#define FM_PYTORCH_MAX_ENTRY     ((size_t)1024)    /* bytes of weights.entry */
#define FM_PYTORCH_MAX_DEPTH     ((size_t)16) /* dicts within dicts, where state dicts are looked for */

#endif
