/*
 * A record of the coordinator's log. What is read is written, and read again as the same; what is
 * refused is refused as a damaged log; and a core that loads it either refuses it, or begins to
 * drive it to its end.
 */
#include "io/record.h"

#include <string.h>

#include "core_config.h"
#include "fuzz.h"

#define TEXT_BYTES_MAX ((size_t)1 << 20)

static void write_record(struct vow_buf *out, const struct vow_txn *txn,
                         enum vow_record_detail detail) {
  struct vow_jsonw w;
  vow_buf_init(out, TEXT_BYTES_MAX);
  vow_jsonw_init(&w, out);
  vow_record_write(&w, NULL, txn, detail);
  must(out->error == VOW_OK);
}

static void must_be_json(const struct vow_txn *txn, enum vow_record_detail detail) {
  char why[VOW_JSON_WHY_BYTES];
  struct vow_json *json = NULL;
  struct vow_buf text;
  write_record(&text, txn, detail);
  must(vow_json_parse(&json, text.data, text.bytes, why) == VOW_OK);
  vow_json_free(json);
  vow_buf_fini(&text);
}

static void written_and_read_again(const struct vow_txn *txn) {
  char why[VOW_JSON_WHY_BYTES];
  struct vow_txn again = {0};
  struct vow_buf once, twice;

  write_record(&once, txn, VOW_RECORD_LOG);
  must(vow_record_read(once.data, once.bytes, &again, why) == VOW_OK);
  write_record(&twice, &again, VOW_RECORD_LOG);
  must(once.bytes == twice.bytes && memcmp(once.data, twice.data, once.bytes) == 0);
  must(vow_id_compare(txn->id, again.id) == 0 && txn->state == again.state);
  must(txn->ended_ms == again.ended_ms && txn->delegated == again.delegated);
  must(txn->branch_count == again.branch_count && txn->history_count == again.history_count);
  must(txn->decision_durable == again.decision_durable);
  must(memcmp(txn->request_hash, again.request_hash, sizeof txn->request_hash) == 0 ||
       txn->idempotency_key == NULL);
  vow_txn_fini(&again);
  vow_buf_fini(&once);
  vow_buf_fini(&twice);
}

static void step(struct vow_core *core, struct vow_event *event, enum vow_error *error) {
  struct vow_actions actions = {0};
  event->now_ms = 1000;
  event->wall_ms = 1700000000000;
  *error = vow_core_step(core, event, &actions);
  for (uint32_t i = 0; *error == VOW_OK && i < actions.count; i++) {
    must(actions.items[i].after <= 7); /* nothing leaves before it is durable */
  }
}

static void loaded(struct vow_txn *txn) {
  struct vow_event event = {.type = VOW_EVENT_LOAD_BEGIN, .u.load_begin.position = 7};
  struct vow_core *core = NULL;
  enum vow_error error;

  must(vow_core_new(&core, &core_config) == VOW_OK);
  step(core, &event, &error);
  must(error == VOW_OK);
  event = (struct vow_event){.type = VOW_EVENT_LOAD, .u.load = txn};
  bool ended = txn->ended_ms != 0;
  step(core, &event, &error);
  must(error == VOW_OK || error == VOW_E_LOG_CORRUPT || (ended && error == VOW_E_INVALID_ARGUMENT));
  event = (struct vow_event){.type = VOW_EVENT_LOAD_END};
  step(core, &event, &error);
  must(error == VOW_OK);
  vow_core_free(core);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
  char why[VOW_JSON_WHY_BYTES] = "";
  struct vow_txn txn = {0};

  enum vow_error error = vow_record_read((const char *)data, bytes, &txn, why);
  if (error != VOW_OK) {
    must(error == VOW_E_LOG_CORRUPT && strlen(why) > 10);
    must(txn.branches == NULL && txn.history == NULL);
    return 0;
  }
  must_be_json(&txn, VOW_RECORD_SUMMARY);
  must_be_json(&txn, VOW_RECORD_VIEW);
  written_and_read_again(&txn);
  loaded(&txn);
  vow_txn_fini(&txn);
  return 0;
}
