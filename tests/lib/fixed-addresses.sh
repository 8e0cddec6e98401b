#!/bin/sh
# fixed-addresses.sh COMMAND...: runs it without address randomisation where that is allowed. The
# thread sanitizer of gcc 12 refuses to start on kernels that randomise more bits than it knows of.
if setarch -R true 2>/dev/null; then exec setarch -R "$@"; fi
exec "$@"
