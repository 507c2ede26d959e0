#!/usr/bin/env bash
# Makes certificates for development, beside this script. Never for production: see README.md.
#
#   certs/make.sh                  makes what is missing; what is there and still good is left alone
#   certs/make.sh --force          makes everything anew, the authorities too
#   certs/make.sh --days 30        how long they hold; the default is 365
#   certs/make.sh --out FOLDER     somewhere else
#   certs/make.sh --check          and holds each against its authority, its names and its key
#
# Needs openssl 1.1.1 or later. Keys are P-256, readable by their owner alone.
set -euo pipefail
umask 077
out="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
days=365 force=no check=no

usage() { sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"; }
fail() {
    echo "certs/make.sh: $1" >&2
    exit "${2:-1}"
}

while [ $# -gt 0 ]; do
    case "$1" in
    --force) force=yes ;;
    --check) check=yes ;;
    --days)
        days="${2:-}"
        [[ "$days" =~ ^[1-9][0-9]{0,4}$ ]] || fail "--days takes a number of days, such as 30" 2
        shift
        ;;
    --out)
        out="${2:-}"
        [ -n "$out" ] || fail "--out takes a folder" 2
        shift
        ;;
    -h | --help) usage && exit 0 ;;
    *) fail "there is no option $1; see --help" 2 ;;
    esac
    shift
done
command -v openssl >/dev/null || fail "openssl is missing: install it (Debian: apt-get install openssl)" 2
mkdir -p "$out" && cd "$out"

quietly() { # shows what openssl says only when it fails
    local said
    said="$("$@" 2>&1)" || fail "$* failed:
$said"
}

# Whether a certificate is there with its key, was signed by this authority and holds for another day.
good() { # name, authority
    [ "$force" = no ] && [ -s "$1.pem" ] && [ -s "$1.key" ] &&
        openssl x509 -in "$1.pem" -noout -checkend 86400 >/dev/null 2>&1 &&
        openssl verify -CAfile "$2.pem" "$1.pem" >/dev/null 2>&1
}

key() { quietly openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"; }

authority() { # name, common name
    if good "$1" "$1"; then
        echo "$1.pem: good, left alone"
        return
    fi
    key "$1.key.new"
    quietly openssl req -x509 -new -sha256 -key "$1.key.new" -days "$days" -subj "/CN=$2" -out "$1.pem.new" \
        -addext "basicConstraints=critical,CA:TRUE,pathlen:0" -addext "keyUsage=critical,keyCertSign,cRLSign"
    take "$1"
}

certificate() { # name, authority, common name, serverAuth or clientAuth, subject alternative names
    if good "$1" "$2" && names_are "$1" "$5"; then
        echo "$1.pem: good, left alone"
        return
    fi
    local extensions
    extensions="$(mktemp)"
    printf '%s\n' "basicConstraints=critical,CA:FALSE" "keyUsage=critical,digitalSignature" \
        "extendedKeyUsage=$4" "subjectAltName=$5" >"$extensions"
    key "$1.key.new"
    quietly openssl req -new -sha256 -key "$1.key.new" -subj "/CN=$3" -out "$1.csr"
    quietly openssl x509 -req -sha256 -in "$1.csr" -CA "$2.pem" -CAkey "$2.key" -days "$days" \
        -set_serial "0x$(openssl rand -hex 16)" -extfile "$extensions" -out "$1.pem.new"
    rm -f "$extensions" "$1.csr"
    take "$1"
}

# By renaming, so that whoever reads them meanwhile finds either the old or the new.
take() {
    mv -f "$1.key.new" "$1.key"
    mv -f "$1.pem.new" "$1.pem"
    echo "$1.pem: made, holds for $days days"
}

names_are() { # name, subject alternative names as they were asked for
    local has
    has="$(openssl x509 -in "$1.pem" -noout -ext subjectAltName 2>/dev/null | tail -n +2 | tr -d ' ')"
    [ "${has//IPAddress/IP}" = "${2// /}" ]
}

authority ca "Rhumb development: servers"
authority clients "Rhumb development: clients and edges"

app="DNS:localhost,DNS:app.example,DNS:*.app.example,IP:127.0.0.1"
admin="DNS:localhost,DNS:admin.internal,IP:127.0.0.1"
other="DNS:other.example,DNS:*.other.example"
certificate edge ca "app.example" serverAuth "$app"
certificate admin ca "admin.internal" serverAuth "$admin"
certificate other ca "other.example" serverAuth "$other"
certificate eu ca "eu.internal" serverAuth "DNS:eu.internal"
certificate us ca "us.internal" serverAuth "DNS:us.internal"
certificate client clients "edge-1" clientAuth "URI:spiffe://dev.example/edge/edge-1"

[ "$check" = yes ] || exit 0
hold() { # name, authority, purpose, subject alternative names
    quietly openssl verify -CAfile "$2.pem" -purpose "$3" "$1.pem"
    names_are "$1" "$4" || fail "$1.pem does not carry the names $4"
    [ "$(openssl x509 -in "$1.pem" -noout -pubkey)" = "$(openssl pkey -in "$1.key" -pubout)" ] ||
        fail "$1.key is not the key of $1.pem"
    [ -z "$(find "$1.key" -perm /077)" ] || fail "$1.key can be read by others"
}
hold edge ca sslserver "$app"
hold admin ca sslserver "$admin"
hold other ca sslserver "$other"
hold eu ca sslserver "DNS:eu.internal"
hold us ca sslserver "DNS:us.internal"
hold client clients sslclient "URI:spiffe://dev.example/edge/edge-1"
echo "every certificate is good"
