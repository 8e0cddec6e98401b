/* What the application says about a vote or a failure; the public side sees only the name. */
#ifndef VOW_SDK_REASON_H
#define VOW_SDK_REASON_H

#define VOW_REASON_BYTES_MAX 200

struct vow_reason {
  char text[VOW_REASON_BYTES_MAX + 1]; /* "": nothing was said; always whole UTF-8 characters */
};

#endif
