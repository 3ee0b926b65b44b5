#!/bin/sh
# The parts of set-up that pip cannot do: a virtual environment, the system
# libraries that Qt draws with, and a screen for the tests.
#
#   setup.sh venv DIR          make a virtual environment
#   setup.sh libraries DIR     see to the system libraries of the Qt in DIR
#   setup.sh screen            see to Xvfb where there is no screen
#   setup.sh display COMMAND   run a command, on Xvfb where there is no screen
set -eu

qt_packages="libegl1 libgl1 libgl1-mesa-dri libdbus-1-3 libfontconfig1 libglib2.0-0
    libxkbcommon-x11-0 libxcb-cursor0 libxcb-icccm4 libxcb-image0 libxcb-keysyms1
    libxcb-render-util0 libxcb-shape0 libxcb-xinerama0 fonts-dejavu-core"

say() { printf 'napari-mtm set-up: %s\n' "$*" >&2; }

# Install Debian packages as root or with sudo, or say what to install.
debian_install() {
    as_root=
    if [ "$(id -u)" -ne 0 ]; then
        as_root=sudo
        if ! command -v sudo >/dev/null || { ! [ -t 0 ] && ! sudo -n true 2>/dev/null; }; then
            as_root=none
        fi
    fi
    if ! command -v apt-get >/dev/null || [ "$as_root" = none ]; then
        say "please install these system packages (Debian's names) and try again:" "$@"
        exit 1
    fi
    say "installing system packages:" "$@"
    $as_root apt-get update -qq
    DEBIAN_FRONTEND=noninteractive $as_root apt-get install -qq -y --no-install-recommends "$@"
}

find_python() {
    for python in ${PYTHON:-} python3.13 python3.12 python3.11 python3; do
        if command -v "$python" >/dev/null && "$python" -c \
            'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null
        then
            echo "$python"
            return
        fi
    done
    say "Python 3.11, 3.12 or 3.13 is needed; name one with: make PYTHON=/path/to/python"
    exit 1
}

make_venv() {
    python=$(find_python)
    # Debian packs the module that makes environments apart from Python.
    if ! "$python" -c 'import ensurepip' 2>/dev/null; then
        debian_install "$("$python" -c \
            'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
    fi
    "$python" -m venv "$1"
}

missing_libraries() {
    for library in "$1"/lib/python3*/site-packages/PyQt6/Qt6/plugins/platforms/libqxcb.so \
        "$1"/lib/python3*/site-packages/PyQt6/QtOpenGLWidgets*.so; do
        [ ! -e "$library" ] || ldd "$library" 2>/dev/null | grep 'not found' || true
    done
}

on_linux() { [ "$(uname)" = Linux ]; }
no_screen() { on_linux && [ -z "${DISPLAY:-}" ] && [ -z "${WAYLAND_DISPLAY:-}" ]; }

case "$1" in
venv) make_venv "$2" ;;
libraries)
    if on_linux && [ -n "$(missing_libraries "$2")" ]; then
        # shellcheck disable=SC2086
        debian_install $qt_packages
        left=$(missing_libraries "$2")
        [ -z "$left" ] || { say "these libraries are still missing: $left"; exit 1; }
    fi
    ;;
screen)
    if no_screen && ! command -v xvfb-run >/dev/null; then
        debian_install xvfb xauth
    fi
    ;;
display)
    shift
    if no_screen; then
        exec xvfb-run --auto-servernum --server-args="-screen 0 1600x1000x24" "$@"
    fi
    exec "$@"
    ;;
*) say "unknown step $1"; exit 2 ;;
esac
