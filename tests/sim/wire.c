/*
 * Messages and replies as JSON, through both codecs, in one run of eight: what arrives is what was
 * sent.
 */
#include <string.h>

#include "buf.h"
#include "json.h"
#include "sim.h"

#define BYTES_MAX 4096

static bool same_text(const char *a, size_t a_bytes, const char *b, size_t b_bytes) {
  if (a == NULL || b == NULL) return a == b;
  return a_bytes == b_bytes && memcmp(a, b, a_bytes) == 0;
}

static bool same_message(const struct vow_message *a, const struct vow_message *b) {
  return a->type == b->type && vow_id_compare(a->transaction, b->transaction) == 0 &&
         a->branch == b->branch && vow_id_compare(a->finished_below, b->finished_below) == 0 &&
         strcmp(a->coordinator, b->coordinator) == 0 &&
         same_text(a->payload, a->payload_bytes, b->payload, b->payload_bytes) &&
         a->timeout_ms == b->timeout_ms && a->one_phase == b->one_phase &&
         a->log_ask == b->log_ask && vow_log_position_compare(a->log, b->log) == 0;
}

void sim_wire_message(struct sim *s, const struct vow_message *from, struct vow_message *to) {
  char why[VOW_JSON_WHY_BYTES];
  struct vow_buf text;
  *to = *from;
  if (!s->wire) return;
  vow_json_free(s->document);
  s->document = NULL;
  vow_buf_init(&text, BYTES_MAX);
  vow_message_encode(from, &text);
  enum vow_error error = text.error;
  if (error == VOW_OK) {
    error = vow_message_decode(from->type, text.data, text.bytes, to, &s->document, why);
  }
  vow_buf_fini(&text);
  if (s->mistake == SIM_MISTAKE_WIRE_FORGETS) to->finished_below = (struct vow_id){{0}};
  sim_check(s, error == VOW_OK && same_message(from, to), SIM_CONTRACT,
            "a %s is not what it was when it arrives: %s", vow_message_type_name(from->type),
            vow_error_text(error));
  sim_probe(s, SIM_PROBE_WIRE);
}

void sim_wire_reply(struct sim *s, enum vow_message_type type, struct vow_message_reply *reply) {
  char why[VOW_JSON_WHY_BYTES];
  struct vow_buf text;
  struct vow_json *document = NULL;
  struct vow_message_reply read = {.vote = VOW_VOTE_NONE};
  if (!s->wire) return;
  vow_buf_init(&text, BYTES_MAX);
  vow_message_reply_encode(type, reply, &text);
  enum vow_error error = text.error;
  if (error == VOW_OK) {
    error = vow_message_reply_decode(type, text.data, text.bytes, &read, &document, why);
  }
  vow_json_free(document);
  vow_buf_fini(&text);
  bool same = read.vote == reply->vote && read.outcome == reply->outcome &&
              vow_log_position_compare(read.seen, reply->seen) == 0;
  sim_check(s, error == VOW_OK && same, SIM_CONTRACT,
            "the reply to a %s is not what it was when it arrives: %s", vow_message_type_name(type),
            vow_error_text(error));
}
