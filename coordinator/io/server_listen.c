/*
 * The listening socket of the server: reads the configured address and binds it, with errors that
 * say what to do.
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server_internal.h"

/* Splits "host:port" or "[host]:port". */
static bool split_address(const char *listen, char host[64], char port[8]) {
  const char *colon = strrchr(listen, ':');
  if (colon == NULL || colon == listen || colon[1] == '\0') return false;
  size_t host_bytes = (size_t)(colon - listen);
  if (listen[0] == '[') {
    if (listen[host_bytes - 1] != ']') return false;
    listen++;
    host_bytes -= 2;
  } else if (memchr(listen, ':', host_bytes) != NULL) {
    return false;
  }
  if (host_bytes == 0 || host_bytes >= 64 || strlen(colon + 1) >= 6) return false;
  if (strspn(colon + 1, "0123456789") != strlen(colon + 1) || atoi(colon + 1) > 65535) return false;
  memcpy(host, listen, host_bytes);
  host[host_bytes] = '\0';
  snprintf(port, 8, "%s", colon + 1);
  return true;
}

bool vow_server_is_address(const char *listen) {
  char host[64], port[8];
  return split_address(listen, host, port);
}

static enum vow_error bind_failed(const char *address, int code, char *why, size_t why_bytes) {
  if (code == EADDRINUSE) {
    snprintf(why, why_bytes, "%s is in use by another process; stop it or choose another port",
             address);
    return VOW_E_ADDRESS_IN_USE;
  }
  const char *advice = code == EADDRNOTAVAIL ? "; no interface of this machine has it: choose one "
                                               "that `ip address` lists, or 127.0.0.1"
                       : code == EACCES      ? "; ports below 1024 are root's: choose another"
                                             : "";
  snprintf(why, why_bytes, "cannot listen on %s: %s%s", address, strerror(code), advice);
  return VOW_E_CONFIG;
}

enum vow_error vow_server_listen(const char *listen_text, int *out, char *address,
                                 size_t address_bytes, char *why, size_t why_bytes) {
  char host[64], port[8];
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
  struct addrinfo *found = NULL;
  struct sockaddr_storage bound = {0};
  socklen_t bound_bytes = sizeof bound;
  enum vow_error error = VOW_E_CONFIG;
  int on = 1, code, fd = -1;

  if (!split_address(listen_text, host, port)) {
    snprintf(why, why_bytes, "\"%s\" is not an address; write host:port, such as 127.0.0.1:7800",
             listen_text);
    return VOW_E_CONFIG;
  }
  code = getaddrinfo(host, port, &hints, &found);
  if (code == EAI_MEMORY) {
    snprintf(why, why_bytes, "cannot listen on %s: out of memory; give this process more",
             listen_text);
    return VOW_E_NO_MEMORY;
  }
  if (code != 0) {
    snprintf(
        why, why_bytes,
        "cannot find the address of \"%s\": %s; write a number, such as 127.0.0.1, or a name that "
        "this machine knows",
        host, gai_strerror(code));
    return VOW_E_CONFIG;
  }
  fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
      bind(fd, found->ai_addr, found->ai_addrlen) != 0 || listen(fd, SOMAXCONN) != 0 ||
      getsockname(fd, (struct sockaddr *)&bound, &bound_bytes) != 0) {
    error = bind_failed(listen_text, errno, why, why_bytes);
    goto out;
  }
  getnameinfo((struct sockaddr *)&bound, bound_bytes, host, sizeof host, port, sizeof port,
              NI_NUMERICHOST | NI_NUMERICSERV);
  snprintf(address, address_bytes, bound.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
  *out = fd;
  fd = -1;
  error = VOW_OK;

out:
  if (fd >= 0) close(fd);
  freeaddrinfo(found);
  return error;
}
