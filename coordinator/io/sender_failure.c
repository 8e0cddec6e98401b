/*
 * Why a transfer came to nothing: curl's code as an error of ours and a sentence. See sender.h.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "sender_internal.h"

/* The part of a URL that names the server. */
static void host_of(CURL *easy, char *out, size_t out_bytes) {
  char *url = NULL;
  curl_easy_getinfo(easy, CURLINFO_EFFECTIVE_URL, &url);
  const char *start = url == NULL ? NULL : strstr(url, "://");
  if (start == NULL) start = "://the server";
  start += 3;
  snprintf(out, out_bytes, "%.*s", (int)strcspn(start, "/?#"), start);
}

static void say_no_connection(const struct transfer *t, const char *host, char *why) {
  long code = 0;
  curl_easy_getinfo(t->easy, CURLINFO_OS_ERRNO, &code);
  if (t->no_descriptor) {
    snprintf(why, VOW_SENDER_WHY_BYTES,
             "no descriptor is left to connect to %s: raise LimitNOFILE or ulimit -n", host);
  } else if (code == ECONNREFUSED) {
    snprintf(why, VOW_SENDER_WHY_BYTES, "connection refused by %s", host);
  } else {
    snprintf(why, VOW_SENDER_WHY_BYTES, "cannot connect to %s: %s", host,
             code == 0 ? "no connection" : strerror((int)code));
  }
}

static void say_timeout(const struct transfer *t, const char *host, char *why) {
  curl_off_t connected_us = 0;
  curl_easy_getinfo(t->easy, CURLINFO_PRETRANSFER_TIME_T, &connected_us);
  if (connected_us == 0) {
    snprintf(why, VOW_SENDER_WHY_BYTES, "no connection to %s in time", host);
  } else {
    snprintf(why, VOW_SENDER_WHY_BYTES, "no answer from %s within %u ms", host, t->timeout_ms);
  }
}

/* Curl's code is the same for a line of the answer's headers that is longer than it takes. */
static void say_no_memory(CURL *easy, const char *host, char *why) {
  long status = 0;
  curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
  snprintf(why, VOW_SENDER_WHY_BYTES, "no memory to speak with %s%s", host,
           status == 0 ? "" : ", or its answer has a header that is too long");
}

/* With TLS 1.3 the other side looks at our certificate when the request is on its way already, and
 * to curl its alert is an answer that was lost. */
bool vow_sender_was_insecure(const struct transfer *t, CURLcode code) {
  bool alert = strstr(t->curl_error, " alert ") != NULL;
  return code == CURLE_SSL_CONNECT_ERROR || code == CURLE_PEER_FAILED_VERIFICATION ||
         code == CURLE_SSL_CACERT_BADFILE ||
         (alert && (code == CURLE_SEND_ERROR || code == CURLE_RECV_ERROR));
}

/* The code does not tell a certificate that has expired from one that nobody knows. */
static void say_not_secure(const struct transfer *t, CURLcode code, const char *host, char *why) {
  snprintf(why, VOW_SENDER_WHY_BYTES, "no secure connection to %s: %s", host,
           t->curl_error[0] == '\0' ? curl_easy_strerror(code) : t->curl_error);
}

enum vow_error vow_sender_explain(const struct transfer *t, CURLcode code,
                                  char why[VOW_SENDER_WHY_BYTES]) {
  char host[160];
  host_of(t->easy, host, sizeof host);
  if (t->refused_socket && code == CURLE_COULDNT_CONNECT) code = CURLE_OUT_OF_MEMORY;
  if (vow_sender_was_insecure(t, code)) {
    say_not_secure(t, code, host, why);
    return VOW_E_UNREACHABLE;
  }
  switch (code) {
    case CURLE_COULDNT_CONNECT:
      say_no_connection(t, host, why);
      return VOW_E_UNREACHABLE;
    case CURLE_URL_MALFORMAT:
      snprintf(why, VOW_SENDER_WHY_BYTES, "not a URL that can be called");
      return VOW_E_UNREACHABLE;
    case CURLE_COULDNT_RESOLVE_HOST:
      snprintf(why, VOW_SENDER_WHY_BYTES, "the name of %s cannot be resolved", host);
      return VOW_E_UNREACHABLE;
    case CURLE_OPERATION_TIMEDOUT:
      say_timeout(t, host, why);
      return VOW_E_TIMEOUT;
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_PARTIAL_FILE:
      snprintf(why, VOW_SENDER_WHY_BYTES, "%s closed the connection before its answer was complete",
               host);
      return VOW_E_UNREACHABLE;
    case CURLE_UNSUPPORTED_PROTOCOL: /* also HTTP/0.9, which is what garbage looks like */
    case CURLE_WEIRD_SERVER_REPLY:
      snprintf(why, VOW_SENDER_WHY_BYTES, "the answer of %s is not HTTP", host);
      return VOW_E_PROTOCOL;
    case CURLE_WRITE_ERROR:
      if (t->answer_too_large) {
        snprintf(why, VOW_SENDER_WHY_BYTES, "the answer of %s is larger than %zu bytes", host,
                 t->sender->config.answer_bytes_max);
        return VOW_E_PROTOCOL;
      } /* fall through */
    case CURLE_OUT_OF_MEMORY:
      say_no_memory(t->easy, host, why);
      return VOW_E_NO_MEMORY;
    default:
      snprintf(why, VOW_SENDER_WHY_BYTES, "the answer of %s cannot be read: %s", host,
               curl_easy_strerror(code));
      return VOW_E_PROTOCOL;
  }
}

/* Curl tries again on a fresh connection when a kept one turns out dead, and the first try may have
 * been read; so it is not the kind of the failure that counts but the bytes of all tries. */
bool vow_sender_nothing_left(const struct transfer *t) {
  long bytes = 1;
  return curl_easy_getinfo(t->easy, CURLINFO_REQUEST_SIZE, &bytes) == CURLE_OK && bytes == 0;
}
