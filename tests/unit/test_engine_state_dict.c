/* Real instances of image networks at their published sizes: which tensors their checkpoints must hold.
 *
 * Nothing is built: files have the tensors' names and shapes, and holes for their numbers. */
#include "engine/memory.h"
#include "engine/network/network.h"
#include "tests/support/state_dict.h"
#include "tests/support/temp_folder.h"
#include "tests/unit/suites.h"

#include <stdio.h>
#include <string.h>

#define MODEL(shape, network, more)                                                                \
    "{\"schema\":\"velocityd.model/1\",\"flow\":{\"shape\":" shape "},\"network\":{" network       \
    "}" more "}"
#define LABELS(count, null) ",\"conditioning\":{\"labels\":{\"count\":" count ",\"null\":" null "}}"
#define MNIST(more, labels)                                                                        \
    MODEL("[1,28,28]",                                                                             \
          "\"architecture\":\"torchcfm.unet\",\"dim\":[1,28,28],\"num_channels\":32,"              \
          "\"num_res_blocks\":1" more,                                                             \
          labels)
#define META(body, labels)                                                                         \
    MODEL("[3,32,32]",                                                                             \
          "\"architecture\":\"meta.unet\",\"in_channels\":3,\"out_channels\":3,"                   \
          "\"use_scale_shift_norm\":true,\"use_new_attention_order\":true," body,                  \
          labels)
#define SIT(hidden, depth, heads, sigma)                                                           \
    MODEL("[4,32,32]",                                                                             \
          "\"architecture\":\"sit\",\"hidden_size\":" hidden ",\"depth\":" depth                   \
          ",\"num_heads\":" heads ",\"learn_sigma\":" sigma,                                       \
          LABELS("1000", "1000"))

#define TEXT(masked)                                                                               \
    "{\"schema\":\"velocityd.model/"                                                               \
    "1\",\"flow\":{\"space\":\"tokens\",\"shape\":[1024],\"source\":{"                             \
    "\"type\":\"external\"}},\"network\":{\"architecture\":\"text_dit\",\"vocab_size\":50257,"     \
    "\"masked\":" masked ",\"hidden_size\":768,\"cond_dim\":128,\"length\":1024,\"n_blocks\":12,"  \
    "\"n_heads\":12,\"dropout\":0.1}}"
/* A buffer beside the parameters, which need not be in the file. */
#define BUFFER       "rotary_emb.inv_freq"
#define BUFFER_COUNT 32

typedef struct instance {
    const char *listing, *config;
    size_t parameters, tensors; /* of the library's own model */
} instance;

static const instance instances[] = {
    {"tcfm_mnist", MNIST("", ""), 1075361, 166},
    {"tcfm_cmnist",
     MNIST(",\"class_cond\":true,\"num_classes\":10",
           ",\"conditioning\":{\"labels\":{\"count\":10}}"),
     1076641, 167},
    {"tcfm_cifar",
     MODEL("[3,32,32]",
           "\"architecture\":\"torchcfm.unet\",\"dim\":[3,32,32],\"num_res_blocks\":2,"
           "\"num_channels\":128,\"channel_mult\":[1,2,2,2],\"num_heads\":4,"
           "\"num_head_channels\":64,\"attention_resolutions\":\"16\",\"dropout\":0.1",
           ""),
     35746307, 304},
    {"meta_cifar10",
     META("\"model_channels\":128,\"channel_mult\":[2,2,2],\"num_res_blocks\":4,"
          "\"attention_resolutions\":[2],\"num_heads\":1,\"num_head_channels\":256,"
          "\"conv_resample\":false,\"dropout\":0.3",
          ""),
     55676419, 390},
    {"meta_imagenet",
     META("\"model_channels\":192,\"channel_mult\":[1,2,3,4],\"num_res_blocks\":3,"
          "\"attention_resolutions\":[2,4,8],\"num_heads\":4,\"num_head_channels\":64,"
          "\"resblock_updown\":true,\"num_classes\":1000,\"dropout\":0.1",
          LABELS("1000", "1000")),
     295900035, 541},
    {"sit_S_2", SIT("384", "12", "6", "false"), 32957200, 132},
    {"sit_S_2_ls", SIT("384", "12", "6", "true"), 32963360, 132},
    {"sit_B_2_ls", SIT("768", "12", "12", "true"), 130512416, 132},
    {"sit_L_2_ls", SIT("1024", "24", "16", "true"), 458102816, 252},
    {"sit_XL_2_ls", SIT("1152", "28", "16", "true"), 675129632, 292},
    {"text", TEXT("false"), 169625681 + BUFFER_COUNT, 155},
    {"text_mask", TEXT("true"), 169627218 + BUFFER_COUNT, 155},
};
#define N_INSTANCES ((int)(sizeof instances / sizeof *instances))

/* An instance's configuration and tensors, and a place for files. */
typedef struct checked {
    fm_model_config config;
    state_dict tensors;
    temp_folder folder;
    char file[512];
    fm_tensors *opened;
    fm_weights *weights;
} checked;

static void begin(checked *it, const instance *of)
{
    fm_error err = {0};
    *it = (checked){0};
    fm_status status =
        fm_model_config_parse("models/m", of->config, strlen(of->config), &it->config, &err);
    ck_assert_msg(status == FM_OK, "%s: %s", of->listing, err.text);
    (void)snprintf(it->file, sizeof it->file, "tests/golden/state_dicts/%s.txt", of->listing);
    state_dict_read(&it->tensors, it->file);
    temp_folder_make(&it->folder);
    (void)snprintf(it->file, sizeof it->file, "%s",
                   temp_folder_file(&it->folder, "model.safetensors"));
}

static void close_weights(checked *it)
{
    fm_weights_free(it->weights);
    fm_tensors_close(it->opened);
    it->weights = NULL;
    it->opened = NULL;
}

static void end(checked *it)
{
    close_weights(it);
    temp_folder_remove(&it->folder);
    state_dict_free(&it->tensors);
    fm_model_config_done(&it->config);
}

/* What the loader says to all tensors but one. */
static fm_status check(checked *it, size_t without, fm_error *err)
{
    close_weights(it);
    state_dict_write(&it->tensors, without, it->file);
    ck_assert_msg(fm_tensors_open(it->file, &it->opened, err) == FM_OK, "%s", err->text);
    ck_assert_msg(fm_weights_new(it->opened, "", &it->weights, err) == FM_OK, "%s", err->text);
    return fm_network_check(&it->config, it->weights, err);
}

static size_t count_state(const checked *it, fm_weights_state state)
{
    size_t count = 0;
    for (size_t i = 0; i < fm_weights_count(it->weights); i++) {
        count += fm_weights_at(it->weights, i)->state == state;
    }
    return count;
}

static void expect(const checked *it, const state_dict_tensor *tensor, fm_weights_state state,
                   const char *found, fm_status status, const fm_error *err)
{
    char shape[FM_SHAPE_TEXT_BYTES], text[512];
    fm_shape_text(tensor->rank, tensor->shape, shape);
    (void)snprintf(text, sizeof text, "tensor \"%s\": expected shape %s, found %s", tensor->name,
                   shape, found);
    ck_assert_int_eq(status, FM_EFORMAT);
    ck_assert_str_eq(err->text, text);
    ck_assert_uint_eq(count_state(it, state), 1); /* and the record of all others is whole */
    ck_assert_uint_eq(count_state(it, FM_WEIGHTS_USED), it->tensors.count - 1);
}

/* All tensors of small networks; of others enough to meet every kind of tensor and block. */
static size_t stride(const checked *it)
{
    return it->tensors.count < 150 ? 1 : 7;
}

static bool add_bytes(void *context, size_t size_bytes)
{
    *(size_t *)context += size_bytes;
    return true;
}

START_TEST(published_networks_are_accepted_and_nothing_large_is_allocated)
{
    const instance *of = &instances[_i];
    checked it;
    fm_error err = {0};
    begin(&it, of);
    ck_assert_uint_eq(it.tensors.count, of->tensors);
    ck_assert_uint_eq(state_dict_parameters(&it.tensors), of->parameters);
    size_t allocated = 0;
    fm_memory_set_hook(add_bytes, &allocated);
    fm_status status = check(&it, SIZE_MAX, &err);
    fm_memory_set_hook(NULL, NULL);
    ck_assert_msg(status == FM_OK, "%s: %s", of->listing, err.text);
    ck_assert_uint_eq(count_state(&it, FM_WEIGHTS_USED), of->tensors);
    ck_assert_uint_lt(allocated, (size_t)1 << 20);
    end(&it);
}
END_TEST

START_TEST(a_published_network_without_one_of_its_tensors_is_refused_by_its_name)
{
    checked it;
    begin(&it, &instances[_i]);
    for (size_t i = 0; i < it.tensors.count; i += stride(&it)) {
        fm_error err = {0};
        if (strcmp(it.tensors.tensors[i].name, BUFFER) == 0) {
            continue;
        }
        fm_status status = check(&it, i, &err);
        expect(&it, &it.tensors.tensors[i], FM_WEIGHTS_MISSING, "no such tensor", status, &err);
    }
    end(&it);
}
END_TEST

START_TEST(a_published_network_with_a_misshapen_tensor_is_refused_by_its_name)
{
    checked it;
    begin(&it, &instances[_i]);
    for (size_t i = 0; i < it.tensors.count; i += stride(&it)) {
        state_dict_tensor *tensor = &it.tensors.tensors[i];
        const state_dict_tensor right = *tensor;
        char found[FM_SHAPE_TEXT_BYTES];
        tensor->shape[i % tensor->rank]++;
        fm_shape_text(tensor->rank, tensor->shape, found);
        fm_error err = {0};
        fm_status status = check(&it, SIZE_MAX, &err);
        expect(&it, &right, FM_WEIGHTS_WRONG_SHAPE, found, status, &err);
        *tensor = right;
    }
    end(&it);
}
END_TEST

START_TEST(a_published_network_with_a_tensor_too_many_is_refused_by_its_name)
{
    checked it;
    fm_error err = {0};
    begin(&it, &instances[_i]);
    it.tensors.tensors[it.tensors.count++] =
        (state_dict_tensor){.name = "out.3.weight", .rank = 1, .shape = {7}};
    ck_assert_int_eq(check(&it, SIZE_MAX, &err), FM_EFORMAT);
    ck_assert_str_eq(err.text, "expected no other tensors than the network's, found 1: "
                               "\"out.3.weight\" [7]");
    size_t allocated = 0; /* not after everything has been packed */
    fm_network *network = NULL;
    fm_memory_set_hook(add_bytes, &allocated);
    fm_status status = fm_network_new(&it.config, it.weights, &it.config.path, &network, &err);
    fm_memory_set_hook(NULL, NULL);
    ck_assert_int_eq(status, FM_EFORMAT);
    ck_assert_uint_lt(allocated, (size_t)1 << 20);
    end(&it);
}
END_TEST

#define LARGE_UNET(size, blocks, multiples)                                                        \
    MODEL("[1," size "," size "]",                                                                 \
          "\"architecture\":\"torchcfm.unet\",\"dim\":[1," size "," size "],"                      \
          "\"num_channels\":32,\"num_res_blocks\":" blocks ",\"channel_mult\":" multiples,         \
          "")

START_TEST(a_configuration_that_asks_for_far_too_much_is_refused_soon)
{
    static const struct {
        instance of;
        fm_status status;
        const char *text;
    } rows[] = {
        {{"tcfm_mnist", LARGE_UNET("8192", "2", "[1,1]"), 0, 0},
         FM_ETOOBIG,
         "the activations of one row take more than 4294967296 bytes"},
        {{"tcfm_mnist", LARGE_UNET("512", "64", "[1,1,1,1,1,1,1,1,1,1]"), 0, 0},
         FM_EFORMAT,
         "tensor \"input_blocks.2.0.in_layers.0.weight\": expected shape [32], found no such "
         "tensor"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        checked it;
        fm_error err = {0};
        begin(&it, &rows[i].of);
        ck_assert_int_eq(check(&it, SIZE_MAX, &err), rows[i].status);
        ck_assert_str_eq(err.text, rows[i].text);
        ck_assert_uint_lt(fm_weights_count(it.weights), 5000);
        end(&it);
    }
}
END_TEST

Suite *suite_engine_state_dict(void)
{
    Suite *suite = suite_create("engine/state_dict");
    TCase *tests = tcase_create("state_dict");
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, published_networks_are_accepted_and_nothing_large_is_allocated, 0,
                        N_INSTANCES);
    tcase_add_loop_test(tests,
                        a_published_network_without_one_of_its_tensors_is_refused_by_its_name, 0,
                        N_INSTANCES);
    tcase_add_loop_test(tests, a_published_network_with_a_misshapen_tensor_is_refused_by_its_name,
                        0, N_INSTANCES);
    tcase_add_loop_test(tests, a_published_network_with_a_tensor_too_many_is_refused_by_its_name, 0,
                        N_INSTANCES);
    tcase_add_test(tests, a_configuration_that_asks_for_far_too_much_is_refused_soon);
    suite_add_tcase(suite, tests);
    return suite;
}
