#!/usr/bin/env bash
# scripts/layers.sh BUILD_FOLDER: who may use whom, read from the objects' undefined symbols and from the
# #include lines. ARCHITECTURE.md says why; this says no. Link order would not: an object that something
# else has pulled in satisfies everybody.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
build=$1
broken=0

complain() {
    if [ -n "$1" ]; then
        echo "$2:" >&2
        sed 's/^/    /' <<<"$1" >&2
        broken=1
    fi
}

symbols=$(mktemp)
trap 'rm -f "$symbols"' EXIT
# "engine/solve/fixed.c symbol", for each undefined symbol; _chk names are fortified libc functions.
find engine proto config server -name '*.c' | sort | while read -r source; do
    object=$build/${source%.c}.o
    [ -e "$object" ] || continue # the provider of dense math that this build does without
    nm -u "$object" | sed -E "s|^ *U ||; s|^__([a-z]+)_chk$|\1|; s|^|$source |"
done >"$symbols"
if [ ! -s "$symbols" ]; then
    echo "layers: no objects under $build" >&2
    exit 1
fi

# forbid FOLDER_REGEX SYMBOL_REGEX REASON [EXCEPT_FOLDER_REGEX]
forbid() {
    complain "$(grep -E "^($1)[^ ]* ($2)\$" "$symbols" | { [ -z "${4:-}" ] && cat || grep -vE "^($4)"; })" "$3"
}

logging='printf|vprintf|puts|putchar|perror|stdout|stderr|syslog|warn|warnx|err|errx'
threads='pthread_.*|thrd_.*|mtx_.*|cnd_.*'
clocks='clock_gettime|gettimeofday|time|nanosleep|clock_nanosleep|usleep|sleep'
sockets='socket|connect|bind|listen|accept4?|send|recv|sendmsg|recvmsg|epoll_.*|poll'

forbid engine/ 'fm[pdc]_.*' "engine/ uses a layer above it"
forbid engine/ "uv_.*|MHD_.*|$sockets" "engine/ knows no sockets"
forbid engine/ 'getenv|secure_getenv|environ|setenv' "engine/ does not read the environment"
forbid engine/ "$logging" "engine/ does not log"
forbid engine/ 'json_.*|jansson_.*' "JSON in engine/ belongs to checkpoint/" engine/checkpoint/
forbid engine/ 'nettle_.*' "hashes in engine/ belong to checkpoint/" engine/checkpoint/
forbid engine/ 'zip_.*' "archives in engine/ belong to checkpoint/" engine/checkpoint/
forbid engine/inverse/ 'fm_(solve|sampler|method|network|plan|model|tensors|field|predictions?|job|row|lane|engine|worker)_.*' \
    "engine/inverse/ uses math and paths alone"
forbid 'engine/|proto/|config/|server/' 'cblas_.*|sgemm_?|dnnl_.*|openblas_.*|omp_.*|GOMP_.*' \
    "only engine/math/ calls a BLAS" engine/math/
forbid engine/ 'malloc|calloc|realloc|reallocarray|aligned_alloc|posix_memalign|strdup|strndup|asprintf|vasprintf' \
    "engine memory goes through engine/memory.h" engine/memory.c
forbid 'engine/|proto/|config/' 'exit|_exit|_Exit|quick_exit|abort' "only the program ends the program"

forbid proto/ 'fm[dc]_.*' "proto/ uses a layer above it"
forbid proto/ "uv_.*|MHD_.*|$sockets" "proto/ knows no sockets"
forbid proto/ "$threads|$clocks" "proto/ has no threads and no clock"
forbid proto/ "getenv|secure_getenv|environ|$logging" "proto/ neither logs nor reads the environment"

forbid config/ 'fm[pd]_.*|uv_.*|MHD_.*|json_.*' "config/ uses libinih, libc and the status table only"

forbid 'engine/|proto/|config/|server/' \
    'sprintf|vsprintf|strcpy|strcat|strncat|stpcpy|strtok|atoi|atol|atoll|atof|rand|srand|random|srandom|gets|tmpnam|mktemp|localtime|gmtime|ctime|asctime|setjmp|_setjmp|longjmp|alarm|system|popen|getpwnam|getgrnam|gethostbyname|readdir64?_r|setlocale' \
    "banned functions (CONTRIBUTING.md names what to use)"

# includes FOLDER ALLOWED_REGEX REASON: project headers that files of a folder may include.
includes() {
    complain "$(grep -rnE --include='*.[ch]' --include='*.def' '^ *# *include "' "$1" | grep -vE "# *include \"($2)\"" || true)" "$3"
}
public='engine/(fm|status|annotate|name)\.h|engine/status\.def'
includes engine 'engine/[^"]*' "engine/ includes something outside itself"
includes engine/inverse 'engine/(inverse|math)/[^"]*|engine/flow/path\.h|engine/(fm_inverse|fm_path|fm_state|status|annotate|memory)\.h' \
    "engine/inverse/ may include engine/inverse/, engine/math/, engine/flow/path.h, engine/memory.h and the public headers of paths and operators"
includes proto "proto/[^\"]*|$public" "proto/ may include proto/ and engine's public headers"
includes config "config/[^\"]*|engine/(status|annotate)\.h" "config/ may include config/, engine/status.h and engine/annotate.h"
includes server "server/[^\"]*|proto/[^\"]*|config/[^\"]*\.h|$public" \
    "server/ may include server/, proto/, config/'s headers and engine's public headers"

# library HEADER_REGEX FOLDER_REGEX REASON: a library's headers stay where they belong.
library() {
    complain "$(grep -rnE --include='*.[ch]' "^ *# *include <($1)>" engine proto config server | grep -vE "^($2)" || true)" "$3"
}
library 'jansson\.h' 'engine/checkpoint/|proto/|server/' "jansson outside engine/checkpoint/, proto/ and server/"
library 'ini\.h' 'config/' "libinih outside config/"
library 'uv\.h|microhttpd\.h' 'server/' "libuv or libmicrohttpd outside server/"
library 'dnnl[^>]*|cblas\.h|omp\.h|openblas[^>]*' 'engine/math/' "a math library outside engine/math/"
library 'nettle/[^>]*' 'engine/checkpoint/|proto/base64\.c|server/' "nettle outside engine/checkpoint/, proto/base64.c and server/"
library 'png\.h' 'proto/png\.c' "libpng outside proto/png.c"
library 'zip(conf)?\.h' 'engine/checkpoint/' "libzip outside engine/checkpoint/"

# A file's own header comes first, so that every header is seen to stand alone.
while read -r source; do
    header=${source%.c}.h
    [ -e "$header" ] || continue
    first=$(grep -m1 -E '^ *# *include' "$source" || true)
    [ "$first" = "#include \"$header\"" ] || complain "$source: ${first:-no include}" "own header first"
done < <(find engine proto config server -name '*.c' | sort)
complain "$(grep -rnE --include='*.c' '^extern ' engine proto config server || true)" "extern declarations belong in a header"

exit "$broken"
