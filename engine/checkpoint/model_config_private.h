/* The sections of config.json, one reader each. They fill a zeroed config, allocate into it and leave
 * freeing to fm_model_config_done(), after failures too.
 *
 * Errors of all: FM_EFORMAT, FM_EUNSUPPORTED, both starting with the JSON pointer; FM_ENOMEM. */
#ifndef FM_MODEL_CONFIG_PRIVATE_H
#define FM_MODEL_CONFIG_PRIVATE_H

#include "engine/checkpoint/json_reader.h"
#include "engine/checkpoint/model_config.h"

/* /network/architecture alone: it decides about the other sections. */
FM_MUST_USE fm_status fm_model_config_read_architecture(const fm_json_node *root,
                                                        fm_model_config *config, fm_error *err);
/* /flow; after the architecture. */
FM_MUST_USE fm_status fm_model_config_read_flow(const fm_json_node *root, fm_model_config *config,
                                                fm_error *err);
/* Of /flow what says where states live; the space is finished after the network, which may say how many tokens there are. */
FM_MUST_USE fm_status fm_model_config_read_space(const fm_json_node *flow, fm_model_config *config,
                                                 fm_error *err);
FM_MUST_USE fm_status fm_model_config_finish_space(const fm_json_node *root,
                                                   fm_model_config *config, fm_error *err);
/* Whether the architecture can be of a flow that is not Euclidean. */
bool fm_model_config_serves_spaces(const fm_model_config *config);
/* /flow/scheduler, after the source, and /flow/prediction. */
FM_MUST_USE fm_status fm_model_config_read_scheduler(const fm_json_node *flow,
                                                     fm_model_config *config, fm_error *err);
FM_MUST_USE fm_status fm_model_config_read_prediction(const fm_json_node *flow,
                                                      fm_model_config *config, fm_error *err);
/* /network; after the flow, for the dimension of means. */
FM_MUST_USE fm_status fm_model_config_read_network(const fm_json_node *root,
                                                   fm_model_config *config, fm_error *err);
/* /network of each architecture, network being that node. */
FM_MUST_USE fm_status fm_model_config_read_mlp(const fm_json_node *network, fm_model_config *config,
                                               fm_error *err);
FM_MUST_USE fm_status fm_model_config_read_gaussian_mixture(const fm_json_node *network,
                                                            fm_model_config *config, fm_error *err);
FM_MUST_USE fm_status fm_model_config_read_dataset(const fm_json_node *network,
                                                   fm_model_config *config, fm_error *err);
FM_MUST_USE fm_status fm_model_config_read_torchcfm_unet(const fm_json_node *network,
                                                         fm_model_config *config, fm_error *err);
FM_MUST_USE fm_status fm_model_config_read_meta_unet(const fm_json_node *network,
                                                     fm_model_config *config, fm_error *err);
FM_MUST_USE fm_status fm_model_config_read_sit(const fm_json_node *network, fm_model_config *config,
                                               fm_error *err);
FM_MUST_USE fm_status fm_model_config_read_frames(const fm_json_node *network,
                                                  fm_model_config *config, fm_error *err);

FM_MUST_USE fm_status fm_model_config_read_text_dit(const fm_json_node *network,
                                                    fm_model_config *config, fm_error *err);
/* vocab_size and masked, of networks whose input is tokens: the flow's space and source must be of such. */
FM_MUST_USE fm_status fm_model_config_read_tokens(const fm_json_node *network,
                                                  fm_model_config *config, fm_error *err);

/* Is /flow/shape what the network's keys say?
 *   origin  where that shape comes from, for the error */
FM_MUST_USE fm_status fm_model_config_check_shape(const fm_json_node *network,
                                                  const fm_model_config *config,
                                                  const size_t shape[3], const char *origin,
                                                  fm_error *err);

/* /network/learn_sigma, with which a network makes twice x's channels: of those the first count, or all where
 * /flow/prediction is a pair.
 *   fallback  what the library takes where the key is absent */
FM_MUST_USE fm_status fm_model_config_read_learn_sigma(const fm_json_node *network,
                                                       const fm_model_config *config, bool fallback,
                                                       size_t channels, size_t *ret_output,
                                                       size_t *ret_kept, fm_error *err);

/* What a library's constructor takes and what has no meaning when a network is evaluated: only their
 * types are checked. */
typedef struct fm_json_ignored {
    const char *key; /* NULL ends a list */
    bool is_number;  /* else true or false */
} fm_json_ignored;
FM_MUST_USE fm_status fm_model_config_check_ignored(const fm_json_node *network,
                                                    const fm_json_ignored *ignored, fm_error *err);

/* /conditioning; after the network, which says whether labels make sense. */
FM_MUST_USE fm_status fm_model_config_read_conditioning(const fm_json_node *root,
                                                        fm_model_config *config, fm_error *err);
/* /output/vocabulary: its name, and later the file. */
FM_MUST_USE fm_status fm_model_config_read_vocabulary(const fm_json_node *output,
                                                      fm_model_config *config, fm_error *err);
FM_MUST_USE fm_status fm_model_config_load_vocabulary(fm_model_config *config, fm_error *err);
void fm_model_config_network_done(fm_model_config *config);

#endif
