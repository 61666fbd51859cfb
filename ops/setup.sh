#!/bin/sh
# Makes a checkout ready to run: .venv with exactly what requirements.lock names, and a RabbitMQ; called with
# `browser`, a Chromium as well, for the tests of the console.
# Safe to repeat; says nothing when there is nothing to do. Needs the network the first time only.
set -eu

want=${1:-}
cd "$(dirname "$0")/.."
venv=.venv
stamp=$venv/.stockyard
log=.stack/setup.log
policy=/usr/sbin/policy-rc.d
policy_mark='placed by stockyard ops/setup.sh'

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

# What decides whether the venv is still right: where the checkout lies, the pins, and this script.
wanted() {
    pwd -P
    cat requirements.lock pyproject.toml ops/setup.sh | sha256sum
}

venv_is_right() {
    [ -x $venv/bin/python ] && [ -f $stamp ] && [ "$(cat $stamp)" = "$(wanted)" ]
}

rabbitmq_is_here() {
    [ -n "${STOCKYARD_RABBITMQ_URL:-}" ] || [ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] ||
        command -v rabbitmq-server >/dev/null 2>&1
}

browser_is_here() {
    [ "$want" != browser ] && return
    for name in chromium chromium-browser google-chrome; do
        if command -v $name >/dev/null 2>&1; then return; fi
    done
    return 1
}

# Runs a command with its output in the log; on failure shows the end of that output.
quietly() {
    before=$(wc -l <"$log")
    "$@" >>"$log" 2>&1 </dev/null && return
    tail -n "+$((before + 1))" "$log" | tail -n 15 >&2
    return 1
}

# Sets $root to what makes a command run as root ("" when we are). False when nothing does.
become_root() {
    root=
    [ "$(id -u)" -eq 0 ] && return
    command -v sudo >/dev/null 2>&1 || return 1
    if [ -t 0 ]; then root=sudo; sudo -v; else root='sudo -n'; $root true 2>/dev/null; fi
}

apt_install() {
    command -v apt-get >/dev/null 2>&1 && become_root || return 1
    say "installing $* with apt-get (log: $log)"
    trap lift_service_ban EXIT
    trap 'exit 130' INT
    trap 'exit 143' HUP TERM
    ban_service_starts || fail "could not write $policy"
    quietly $root apt-get -o DPkg::Lock::Timeout=120 update || say 'apt-get update failed; trying what is known'
    quietly $root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 \
        install -y --no-install-recommends "$@" || fail "apt-get could not install $* (log: $log)"
    lift_service_ban
    trap - EXIT INT HUP TERM
}

# A freshly installed server must not start as a system service: the stack runs a node of its own.
ban_service_starts() {
    if [ -e $policy ]; then return; fi
    printf '#!/bin/sh\n# %s\nexit 101\n' "$policy_mark" | $root tee $policy >/dev/null
    $root chmod 755 $policy
}

lift_service_ban() {
    # By its mark, so that one left behind by a killed run goes too, and a foreign one stays.
    if grep -q "$policy_mark" $policy 2>/dev/null; then $root rm -f $policy; fi
}

fits() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
    for python in python3.11 python3 python3.12 python3.13 python3.14; do
        if fits "$python"; then return; fi
    done
    return 1
}

# A venv of this very place is brought up to date where it is, since somebody may be using it.
venv_can_stay() {
    [ -f $stamp ] && [ "$(head -n 1 $stamp)" = "$(pwd -P)" ] && fits $venv/bin/python
}

make_venv() {
    if ! find_python; then
        apt_install python3 python3-venv && find_python ||
            fail 'needs Python 3.11 or newer: install python3.11 and python3.11-venv, or use: docker compose up'
    fi
    if ! "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
        package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
        apt_install "$package" || fail "needs the package $package: install it as root, or use: docker compose up"
    fi
    say "creating $venv with $("$python" -V)"
    rm -rf $venv
    quietly "$python" -m venv $venv || fail "could not create $venv (log: $log)"
}

# Bytecode now rather than at every first start, and for those who never let Python write any.
sync_with_uv() {
    $venv/bin/uv pip install --quiet "$@" --compile-bytecode --python $venv/bin/python \
        --require-hashes -r requirements.lock >>"$log" 2>&1
}

install_packages() {
    say "installing $(grep -c '^[a-z0-9].*==' requirements.lock) pinned packages (log: $log)"
    # uv by pip with the lock's own hash, then all the rest by uv; by pip alone where uv cannot.
    awk '/^[^ ]/ { on = /^uv==/ } on' requirements.lock >$venv/uv.lock
    quietly $venv/bin/python -m pip install --quiet --require-hashes -r $venv/uv.lock ||
        fail "pip could not install uv: is the package index reachable? (log: $log)"
    if ! sync_with_uv && ! sync_with_uv --system-certs; then
        say 'uv could not; trying pip'
        quietly $venv/bin/python -m pip install --quiet --require-hashes -r requirements.lock ||
            fail "could not install requirements.lock (log: $log)"
    fi
    quietly $venv/bin/python -m pip install --quiet --no-deps --no-build-isolation --no-index -e . ||
        fail "could not install the project itself (log: $log)"
}

install_rabbitmq() {
    units=rabbitmq-server.service
    # Who had Erlang before may want its epmd.
    command -v epmd >/dev/null 2>&1 || units="$units epmd.socket epmd.service"
    apt_install rabbitmq-server ||
        fail 'needs RabbitMQ and may not install it: install the package rabbitmq-server, set STOCKYARD_RABBITMQ_URL, or use: docker compose up'
    # We brought it, so it must not come up at boot either.
    if command -v systemctl >/dev/null 2>&1; then
        $root systemctl disable --quiet $units >>"$log" 2>&1 || true
    fi
}

install_browser() {
    apt_install chromium ||
        say 'no Chromium, which may not be installed here: tests of the console are left out (package: chromium)'
}

if venv_is_right && rabbitmq_is_here && browser_is_here; then exit 0; fi

mkdir -p .stack
if [ -z "${STOCKYARD_SETUP_LOCKED:-}" ] && command -v flock >/dev/null 2>&1; then
    STOCKYARD_SETUP_LOCKED=1 exec flock .stack/setup.lock sh ops/setup.sh $want
fi
: >"$log"
if ! venv_is_right; then
    venv_can_stay || make_venv
    install_packages
    wanted >$stamp
fi
rabbitmq_is_here || install_rabbitmq
browser_is_here || install_browser
say 'ready'
