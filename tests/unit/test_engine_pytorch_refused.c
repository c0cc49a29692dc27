/* PyTorch files made by hand to do harm: each is refused with its reason, or is harmless. */
#include "engine/checkpoint/pytorch_limits.h"
#include "engine/checkpoint/tensors.h"
#include "tests/support/zip_image.h"
#include "tests/unit/suites.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Pickles by pieces ---- */

typedef struct pickle {
    unsigned char bytes[65536];
    size_t length;
} pickle;

static void add_bytes(pickle *to, const void *bytes, size_t length)
{
    ck_assert_uint_le(to->length + length, sizeof to->bytes);
    memcpy(to->bytes + to->length, bytes, length);
    to->length += length;
}

/* Of string literals, which may hold NULs. */
#define ADD(to, literal) add_bytes((to), (literal), sizeof(literal) - 1)

static void add_text(pickle *to, const char *text)
{
    unsigned char head[2] = {0x8c, (unsigned char)strlen(text)};
    add_bytes(to, head, 2);
    add_bytes(to, text, strlen(text));
}

static void add_long(pickle *to, uint64_t value)
{
    ADD(to, "\x8a\x08");
    add_bytes(to, &value, 8);
}

typedef struct view {
    const char *key;
    uint64_t count, offset;
    uint64_t shape[2], strides[2];
} view;

/* A tensor of float32, two-dimensional. */
static void add_tensor(pickle *to, const view *from)
{
    ADD(to, "ctorch._utils\n_rebuild_tensor_v2\n((");
    add_text(to, "storage");
    ADD(to, "ctorch\nFloatStorage\n");
    add_text(to, from->key);
    add_text(to, "cpu");
    add_long(to, from->count);
    ADD(to, "tQ");
    add_long(to, from->offset);
    add_long(to, from->shape[0]);
    add_long(to, from->shape[1]);
    ADD(to, "\x86");
    add_long(to, from->strides[0]);
    add_long(to, from->strides[1]);
    ADD(to, "\x86\x89}tR");
}

static const view right = {"0", 12, 0, {3, 4}, {4, 1}};

/* {"w": the tensor, "x": a good one} */
static void make_one(const view *tensor, pickle *ret)
{
    ret->length = 0;
    ADD(ret, "\x80\x02}(");
    add_text(ret, "w");
    add_tensor(ret, tensor);
    add_text(ret, "x");
    add_tensor(ret, &right);
    ADD(ret, "u.");
}

static fm_status open_image(const zip_image *image, fm_tensors **ret, fm_error *err)
{
    return fm_tensors_parse_pytorch(image->data, image->size_bytes, NULL, ret, err);
}

static void expect_image_refused(zip_image image, const char *needle)
{
    fm_tensors *tensors = NULL;
    fm_error err = {0};
    fm_status status = open_image(&image, &tensors, &err);
    ck_assert_msg(status == FM_EFORMAT, "found %s %s, expected \"%s\"", fm_status_name(status),
                  err.text, needle);
    ck_assert_msg(strstr(err.text, needle) != NULL, "expected \"%s\" in: %s", needle, err.text);
    ck_assert_ptr_null(tensors);
    zip_image_free(&image);
}

static void expect_refused(const pickle *from, const char *needle)
{
    expect_image_refused(zip_image_make_pickle(from->bytes, from->length), needle);
}

static void expect_read(const pickle *from, const char *name, const float *values, size_t count)
{
    zip_image image = zip_image_make_pickle(from->bytes, from->length);
    fm_tensors *tensors = NULL;
    fm_error err = {0};
    ck_assert_msg(open_image(&image, &tensors, &err) == FM_OK, "%s", err.text);
    const fm_tensor *found = fm_tensors_find(tensors, name);
    ck_assert_ptr_nonnull(found);
    ck_assert_uint_eq(found->count, count);
    ck_assert_int_eq(memcmp(found->data, values, count * sizeof *values), 0);
    fm_tensors_close(tensors);
    zip_image_free(&image);
}

START_TEST(the_pieces_make_a_good_file)
{
    const float values[12] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
    const float columns[4] = {1, 5, 2, 6};
    const view transposed = {"1", 12, 1, {2, 2}, {1, 4}};
    static pickle it;
    make_one(&right, &it);
    expect_read(&it, "w", values, 12);
    make_one(&transposed, &it);
    expect_read(&it, "w", columns, 4);
}
END_TEST

/* ---- Code ---- */

START_TEST(a_call_of_os_system_is_refused_by_name_wherever_it_stands)
{
    static pickle it = {.length = 0};
    ADD(&it, "\x80\x02"
             "cposix\nsystem\n");
    add_text(&it, "touch owned");
    ADD(&it, "\x85R.");
    expect_refused(&it, "data.pkl: byte 2 (GLOBAL): found posix.system, which no checkpoint needs");
    const char *const names[][2] = {{"os", "system"},     {"subprocess", "Popen"},
                                    {"builtins", "eval"}, {"__builtin__", "eval"},
                                    {"os.path", "join"},  {"importlib", "import_module"},
                                    {"builtins", "exec"}, {"sys", "exit"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char needle[64];
        (void)snprintf(needle, sizeof needle, "found %s.%s, which", names[i][0], names[i][1]);
        it.length = 0;
        ADD(&it, "\x80\x04}(");
        add_text(&it, "w");
        add_tensor(&it, &right);
        add_text(&it, "x");
        add_text(&it, names[i][0]);
        add_text(&it, names[i][1]);
        ADD(&it, "\x93)Ru.");
        expect_refused(&it, needle);
    }
}
END_TEST

START_TEST(objects_outside_the_state_dict_are_nothing_and_inside_it_are_refused_by_name)
{
    const float values[12] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
    static pickle it = {.length = 0};
    ADD(&it, "\x80\x02}(");
    add_text(&it, "args");
    ADD(&it, "cmy.module\nThing\n)\x81}");
    add_text(&it, "lr");
    ADD(&it, "K\x01sb(K\x01K\x02"
             "e"); /* state, and items as a list's subclass has them */
    add_text(&it, "model");
    ADD(&it, "}");
    add_text(&it, "w");
    add_tensor(&it, &right);
    ADD(&it, "su.");
    expect_read(&it, "w", values, 12);
    it.length = 0;
    ADD(&it, "\x80\x02}(");
    add_text(&it, "w");
    add_tensor(&it, &right);
    add_text(&it, "args");
    ADD(&it, "cmy.module\nThing\n)\x81u.");
    expect_refused(&it, "the top level: \"args\": expected a tensor, found my.module.Thing");
}
END_TEST

START_TEST(opcodes_of_old_protocols_and_other_protocols_are_refused_by_name)
{
    static pickle it = {.length = 0};
    ADD(&it, "(dp0\n.");
    expect_refused(&it, "byte 1 (not read): opcode 0x64 is not one that torch.save writes");
    it.length = 0;
    ADD(&it, "\x80\x06}.");
    expect_refused(&it, "(PROTO): expected protocol 2 to 5, found 6");
    it.length = 0;
    ADD(&it, "\x80\x05\x97."); /* out-of-band buffers */
    expect_refused(&it, "opcode 0x97");
}
END_TEST

START_TEST(names_that_are_no_names_are_refused)
{
    static pickle it = {.length = 0};
    ADD(&it, "\x80\x02"
             "ca\x1b[2Jb\nc\n.");
    expect_refused(&it, "expected the name of a module and of a class in it");
    it.length = 0;
    ADD(&it, "\x80\x02"
             "cmodule");
    expect_refused(&it, "expected a line of at most 256 bytes");
}
END_TEST

/* ---- Shapes of the stack ---- */

START_TEST(a_stack_that_does_not_hold_what_an_opcode_takes_is_refused)
{
    static const struct {
        const char *bytes;
        size_t length;
        const char *needle;
    } rows[] = {
#define ROW(literal, needle) {literal, sizeof(literal) - 1, needle}
        ROW("\x80\x02.", "(STOP): expected one value on the stack, found 0"),
        ROW("\x80\x02}}.", "(STOP): expected one value on the stack, found 2"),
        ROW("\x80\x02s.", "(SETITEM): expected a value on the stack"),
        ROW("\x80\x02u.", "(SETITEMS): expected a mark on the stack"),
        ROW("\x80\x02}(K\x01u.", "(SETITEMS): expected keys and values, found 1 items"),
        ROW("\x80\x02K\x01K\x01K\x02s.", "(SETITEM): expected a dict on the stack, found a number"),
        ROW("\x80\x02}K\x01"
            "a.",
            "(APPEND): expected a list on the stack, found a dict"),
        ROW("\x80\x02h\x05.", "(BINGET): expected memo entry 5 to be put before"),
        ROW("\x80\x02]r\xff\xff\xff\xff.", "(LONG_BINPUT): expected at most 4194304 memo entries"),
        ROW("\x80\x02K\x01K\x01R.", "(REDUCE): expected a class or function, found a number"),
        ROW("\x80\x02"
            "ctorch\nSize\n)R.",
            "(REDUCE): expected a torch.Size of a tuple"),
        ROW("\x80\x02K\x01Q.", "(BINPERSID): expected (\"storage\", class, key, location, count)"),
        ROW("\x80\x02K\x01}b.", "(BUILD): expected a dict or an object, found a number"),
        ROW("\x80\x02X\xff\xff\xff\xff"
            "abc.",
            "(BINUNICODE): expected 4294967295 more bytes"),
        ROW("\x80\x02\x8d\xff\xff\xff\xff\xff\xff\xff\xff.", "expected 18446744073709551615 more"),
        ROW("\x80\x02}", "byte 3: expected 1 more bytes, the pickle ends after 0"),
        ROW("\x80\x02(0.", "(POP): expected a value on the stack"),
        ROW("\x80\x02"
            "ctorch._utils\n_rebuild_tensor_v2\n(K\x01K\x01))tR.",
            "expected a tensor of (storage, offset, sizes, as many strides)"),
#undef ROW
    };
    static pickle it;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        it.length = 0;
        add_bytes(&it, rows[i].bytes, rows[i].length);
        expect_refused(&it, rows[i].needle);
    }
}
END_TEST

START_TEST(deep_nesting_is_bounded_and_recurses_nowhere)
{
    static pickle it = {.length = 0};
    ADD(&it, "\x80\x02");
    for (size_t i = 0; i < 300; i++) {
        ADD(&it, "(");
    }
    expect_refused(&it, "(MARK): expected at most 256 containers open at once");
    it.length = 0;
    ADD(&it, "\x80\x02}");
    for (size_t i = 0; i < 10000; i++) { /* a dict in a dict in a dict: {"x": {"x": …}} */
        ADD(&it, "\x8c\x01x}");
    }
    for (size_t i = 0; i < 10000; i++) {
        ADD(&it, "s");
    }
    ADD(&it, ".");
    expect_refused(&it, "expected a state dict, a dict of tensors; found a dict of x");
}
END_TEST

START_TEST(a_memo_bomb_and_a_cycle_are_walked_once)
{
    static pickle it = {.length = 0};
    ADD(&it, "\x80\x02}q\x00"
             "0"); /* a dict that holds the one before 32 times, over and over: 32^100 paths */
    for (unsigned char i = 1; i <= 100; i++) {
        unsigned char get[2] = {'h', (unsigned char)(i - 1)}, put[2] = {'q', i};
        ADD(&it, "}(");
        for (size_t k = 0; k < 32; k++) {
            ADD(&it, "\x8c\x01"
                     "a");
            add_bytes(&it, get, 2);
        }
        ADD(&it, "u");
        add_bytes(&it, put, 2);
        ADD(&it, "0");
    }
    ADD(&it, "h\x64.");
    expect_refused(&it, "expected a state dict");
    it.length = 0;
    ADD(&it, "\x80\x02}q\x00\x8c\x01xh\x00s.");
    expect_refused(&it, "expected a state dict, a dict of tensors; found a dict of x");
}
END_TEST

START_TEST(many_values_are_bounded)
{
    size_t length = FM_PICKLE_MAX_STACK + 16;
    unsigned char *bytes = malloc(length);
    ck_assert_ptr_nonnull(bytes);
    memset(bytes, ']', length);
    memcpy(bytes, "\x80\x02", 2);
    expect_image_refused(zip_image_make_pickle(bytes, length),
                         "(EMPTY_LIST): expected at most 1048576 values on the stack");
    free(bytes);
    length = 2 * FM_PICKLE_MAX_VALUES + 16;
    bytes = malloc(length);
    ck_assert_ptr_nonnull(bytes);
    for (size_t i = 0; i < length; i++) {
        bytes[i] = i % 2 == 0 ? ']' : '0';
    }
    expect_image_refused(zip_image_make_pickle(bytes, length),
                         "(EMPTY_LIST): expected at most 4194304 values");
    free(bytes);
}
END_TEST

/* ---- Tensors that lie ---- */

START_TEST(views_outside_their_storage_are_refused)
{
    static const struct {
        view tensor;
        const char *needle;
    } rows[] = {
        {{"0", 12, 1, {3, 4}, {4, 1}},
         "tensor \"w\": expected offset 1, shape [3, 4] and strides "
         "[4, 1] to lie inside storage 0 of 12 elements"},
        {{"0", 12, 0, {3, 4}, {5, 1}}, "to lie inside storage 0 of 12 elements"},
        {{"0", 12, 0, {13, 1}, {1, 1}}, "to lie inside storage 0"},
        {{"0", 12, INT64_MAX, {1, 1}, {1, 1}}, "to lie inside storage 0"},
        {{"0", 12, INT64_MAX, {3, 1}, {INT64_MAX, 1}}, "to lie inside storage 0"},
        {{"0", 12, 0, {1ULL << 32, 1ULL << 32}, {0, 0}}, "the element count overflows"},
        {{"0", 12, 0, {1ULL << 31, 1ULL << 31}, {0, 0}}, "the size in bytes overflows"},
        {{"0", 12, 0, {1 << 20, 1 << 20}, {0, 0}}, "more bytes of compressed or scattered data"},
        {{"0", 12, 0, {(uint64_t)-1, 1}, {1, 1}}, "a tensor with a negative size or stride"},
        {{"0", 12, 3, {2, 2}, {(uint64_t)-1, 1}}, "a tensor with a negative size or stride"},
        {{"0", 13, 0, {3, 4}, {4, 1}},
         "storage 0: expected a record of 13 elements of 4 bytes, "
         "found 48 bytes"},
        {{"0", 11, 0, {1, 4}, {4, 1}}, "storage 0: expected a record of 11 elements"},
        {{"0", INT64_MAX, 0, {3, 4}, {4, 1}}, "storage 0: expected a record of"},
        {{"7", 12, 0, {3, 4}, {4, 1}}, "expected record a/data/7, found none"},
        {{"../data.pkl", 12, 0, {3, 4}, {4, 1}}, "expected a storage's key of letters and digits"},
        {{"", 12, 0, {3, 4}, {4, 1}}, "expected a storage's key of letters and digits"},
    };
    static pickle it;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        make_one(&rows[i].tensor, &it);
        expect_refused(&it, rows[i].needle);
    }
}
END_TEST

START_TEST(a_tensor_without_elements_may_point_anywhere)
{
    static pickle it;
    const view empty = {"0", 12, 99, {0, INT64_MAX}, {7, 7}};
    const float nothing = 0;
    make_one(&empty, &it);
    expect_read(&it, "w", &nothing, 0);
}
END_TEST

START_TEST(names_of_tensors_are_text_and_come_once)
{
    static pickle it = {.length = 0};
    ADD(&it, "\x80\x02}(");
    add_text(&it, "w");
    add_tensor(&it, &right);
    add_text(&it, "w");
    add_tensor(&it, &right);
    ADD(&it, "u.");
    expect_refused(&it, "tensor \"w\": is there twice");
    static const struct {
        const char *name;
        size_t length;
        const char *needle;
    } rows[] = {
        {"a\0b", 3, "in UTF-8 without U+0000, found byte 0x00"},
        {"\xff", 1, "found byte 0xff"},
        {"\xed\xa0\x80", 3, "found byte 0xed"}, /* a surrogate */
        {"\xc0\xaf", 2, "found byte 0xc0"},     /* overlong */
        {"\xe2\x82", 2, "found byte 0xe2"},     /* cut */
        {"", 0, "a tensor's name of 1 to 1024 bytes, found 0"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        unsigned char head[2] = {0x8c, (unsigned char)rows[i].length};
        it.length = 0;
        ADD(&it, "\x80\x02}");
        add_bytes(&it, head, 2);
        add_bytes(&it, rows[i].name, rows[i].length);
        add_tensor(&it, &right);
        ADD(&it, "s.");
        expect_refused(&it, rows[i].needle);
    }
}
END_TEST

START_TEST(tensors_of_more_dimensions_or_unknown_kinds_are_refused_by_name)
{
    static pickle it = {.length = 0};
    ADD(&it, "\x80\x02}(");
    add_text(&it, "w");
    add_tensor(&it, &right);
    add_text(&it, "sparse");
    ADD(&it, "ctorch._utils\n_rebuild_sparse_tensor\n)Ru.");
    expect_refused(&it, "\"sparse\": expected a tensor, found torch._utils._rebuild_sparse_tensor");
    it.length = 0;
    ADD(&it, "\x80\x02}(");
    add_text(&it, "w");
    add_tensor(&it, &right);
    add_text(&it, "complex");
    ADD(&it, "ctorch._utils\n_rebuild_tensor_v2\n((");
    add_text(&it, "storage");
    ADD(&it, "ctorch\nComplexFloatStorage\n");
    add_text(&it, "0");
    add_text(&it, "cpu");
    ADD(&it, "K\x06tQK\x00K\x06\x85K\x01\x85\x89}tRu.");
    expect_refused(&it, "\"complex\": expected a tensor, found torch.ComplexFloatStorage");
}
END_TEST

/* ---- Archives that lie ---- */

/* The good pickle, and a data record of the caller's. */
static zip_image make_archive(const zip_image_record *data, const zip_image_record *more)
{
    static pickle it;
    make_one(&right, &it);
    zip_image_record records[3] = {
        {.name = "a/data.pkl", .data = it.bytes, .size_bytes = it.length}, *data};
    if (more != NULL) {
        records[2] = *more;
    }
    return zip_image_make(records, more == NULL ? 2 : 3);
}

#define DATA .name = "a/data/0", .size_bytes = 48

START_TEST(records_that_declare_what_is_not_there_are_refused)
{
    static const struct {
        zip_image_record record;
        const char *needle;
    } rows[] = {
        {{DATA, .lies = true, .declared_bytes = 48, .packed_bytes = 40, .method = 0},
         "is stored, and declares two sizes, 40 and 48"},
        {{DATA, .lies = true, .declared_bytes = 1 << 30, .packed_bytes = 1 << 30},
         "record \"a/data/0\": declares 1073741824 bytes, the file has"},
        {{DATA, .lies = true, .declared_bytes = 48, .packed_bytes = 48, .method = 12},
         "expected to be stored or deflated, found method 12"},
        {{DATA, .lies = true, .declared_bytes = 48, .packed_bytes = 48, .flags = 1},
         "record \"a/data/0\": is encrypted"},
        {{DATA, .lies = true, .declared_bytes = 48, .packed_bytes = 48, .method = 8}, "a/data/0"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        expect_image_refused(make_archive(&rows[i].record, NULL), rows[i].needle);
    }
}
END_TEST

START_TEST(a_zip_bomb_is_refused_before_memory_is_taken)
{
    static pickle it;
    const view huge = {"0", 1 << 28, 0, {1 << 14, 1 << 14}, {1 << 14, 1}};
    make_one(&huge, &it);
    const zip_image_record records[] = {
        {.name = "a/data.pkl", .data = it.bytes, .size_bytes = it.length},
        {DATA, .lies = true, .declared_bytes = 1U << 30, .packed_bytes = 48, .method = 8}};
    expect_image_refused(zip_image_make(records, 2),
                         "record \"a/data/0\": 1073741824 more bytes of compressed or scattered "
                         "data; a file of this size may take");
    const zip_image_record big_pickle = {.name = "a/data.pkl",
                                         .size_bytes = 48,
                                         .lies = true,
                                         .declared_bytes = 1U << 30,
                                         .packed_bytes = 48,
                                         .method = 8};
    expect_image_refused(zip_image_make(&big_pickle, 1), "data.pkl: expected at most 67108864");
}
END_TEST

START_TEST(archives_of_other_shapes_are_refused)
{
    const zip_image_record data = {DATA};
    const zip_image_record big = {.name = "a/byteorder", .data = "big", .size_bytes = 3};
    const zip_image_record other = {.name = "b/data.pkl", .data = "\x80\x02}.", .size_bytes = 4};
    const zip_image_record outside = {.name = "../data.pkl", .data = "\x80\x02}.", .size_bytes = 4};
    expect_image_refused(make_archive(&data, &big), "expected byteorder \"little\", found \"big\"");
    expect_image_refused(make_archive(&data, &other),
                         "expected one record <name>/data.pkl as torch.save writes it, found 2");
    expect_image_refused(make_archive(&data, &outside), "found 2");
    expect_image_refused(make_archive(&data, &data), "record \"a/data/0\": is there twice");
    expect_image_refused(zip_image_make(&data, 1), "found 0");
}
END_TEST

START_TEST(a_file_that_is_cut_anywhere_is_refused)
{
    const zip_image_record data = {DATA};
    zip_image whole = make_archive(&data, NULL);
    for (size_t length = 0; length < whole.size_bytes; length++) {
        zip_image cut = {.data = malloc(length + 1), .size_bytes = length};
        ck_assert_ptr_nonnull(cut.data);
        memcpy(cut.data, whole.data, length);
        expect_image_refused(cut, length < 4 ? "expected a zip archive as torch.save writes it"
                                             : "expected a zip archive: ");
    }
    zip_image_free(&whole);
}
END_TEST

Suite *suite_engine_pytorch_refused(void)
{
    Suite *suite = suite_create("engine/pytorch_refused");
    TCase *code = tcase_create("code");
    tcase_add_test(code, the_pieces_make_a_good_file);
    tcase_add_test(code, a_call_of_os_system_is_refused_by_name_wherever_it_stands);
    tcase_add_test(code,
                   objects_outside_the_state_dict_are_nothing_and_inside_it_are_refused_by_name);
    tcase_add_test(code, opcodes_of_old_protocols_and_other_protocols_are_refused_by_name);
    tcase_add_test(code, names_that_are_no_names_are_refused);
    suite_add_tcase(suite, code);
    TCase *stack = tcase_create("stack");
    tcase_add_test(stack, a_stack_that_does_not_hold_what_an_opcode_takes_is_refused);
    tcase_add_test(stack, deep_nesting_is_bounded_and_recurses_nowhere);
    tcase_add_test(stack, a_memo_bomb_and_a_cycle_are_walked_once);
    tcase_add_test(stack, many_values_are_bounded);
    suite_add_tcase(suite, stack);
    TCase *tensors = tcase_create("tensors");
    tcase_add_test(tensors, views_outside_their_storage_are_refused);
    tcase_add_test(tensors, a_tensor_without_elements_may_point_anywhere);
    tcase_add_test(tensors, names_of_tensors_are_text_and_come_once);
    tcase_add_test(tensors, tensors_of_more_dimensions_or_unknown_kinds_are_refused_by_name);
    suite_add_tcase(suite, tensors);
    TCase *archives = tcase_create("archives");
    tcase_add_test(archives, records_that_declare_what_is_not_there_are_refused);
    tcase_add_test(archives, a_zip_bomb_is_refused_before_memory_is_taken);
    tcase_add_test(archives, archives_of_other_shapes_are_refused);
    tcase_add_test(archives, a_file_that_is_cut_anywhere_is_refused);
    suite_add_tcase(suite, archives);
    return suite;
}
