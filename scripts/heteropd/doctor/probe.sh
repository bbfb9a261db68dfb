# heteropd-probe: prints what is known of this host, one fact a line: KEY<TAB>VALUE<TAB>...
# $1: folder to read instead of / (tests), $2: the model's folder, or empty, $3: where Docker listens, as DOCKER_HOST.
# Needs a POSIX shell, awk, grep and df.
# It opens nothing but the verbs devices: an accelerator may belong to a running engine.
root=$1 model=$2 docker=$3
fact() { first=$1; shift; printf '%s' "$first"; for value in "$@"; do printf '\t%s' "$value"; done; echo; }
line() { text=; { IFS= read -r text <"$1"; } 2>/dev/null; printf '%s' "$text"; }
within() { if command -v timeout >/dev/null; then timeout 10 "$@"; else "$@"; fi; }

fact clock "$(date +%s.%N)"
fact kernel "$(uname -r)"
fact uid "$(id -u)"
for device in "$root"/dev/infiniband/uverbs*; do
  [ -e "$device" ] || continue
  if ( : <>"$device" ) 2>/dev/null; then opens=yes; else opens=no; fi
  fact verbs "${device#"$root"}" $opens "$(line "$root/sys/class/infiniband_verbs/${device##*/}/ibdev")"
done
for device in "$root"/sys/class/infiniband/*; do
  [ -d "$device" ] && fact ibdev "${device##*/}" "$(readlink -f "$device")" "$(line "$device/node_desc")"
done
for port in "$root"/sys/class/infiniband/*/ports/*; do
  [ -d "$port" ] || continue
  device=${port%/ports/*}; device=${device##*/}
  fact port "$device" "${port##*/}" "$(line "$port/state")" "$(line "$port/link_layer")"
  # Unset entries are all zeros, and reading their type is an error.
  grep -HEv '^(0000:){7}0000$' "$port"/gids/* 2>/dev/null | while IFS= read -r found; do
    index=${found#"$port/gids/"}; index=${index%%:*}
    fact gid "$device" "${port##*/}" "$index" "${found#*gids/"$index":}" "$(line "$port/gid_attrs/types/$index")" \
      "$(line "$port/gid_attrs/ndevs/$index")"
  done
done
for net in "$root"/sys/class/infiniband/*/device/net/*; do
  [ -d "$net" ] || continue
  device=${net%/device/net/*}; fact ibnet "${device##*/}" "${net##*/}" "$(line "$net/dev_port")"
done
for mtu in "$root"/sys/class/net/*/mtu; do
  [ -r "$mtu" ] || continue
  name=${mtu%/mtu}; fact mtu "${name##*/}" "$(line "$mtu")"
done
awk '/32 host LOCAL/ {print "address\t" last} {last = $2}' "$root/proc/net/fib_trie" 2>/dev/null | sort -u
awk '{print "address6\t" $1 "\t" $6}' "$root/proc/net/if_inet6" 2>/dev/null
[ -r "$root/proc/net/tcp" ] && fact sockets read
awk '$4 == "0A" {print "listen\t" $2}' "$root/proc/net/tcp" "$root/proc/net/tcp6" 2>/dev/null
limits() { awk '/^Max locked memory/ {print $4}' "$1" 2>/dev/null; }
caps() { awk '/^CapEff/ {print $2}' "$1" 2>/dev/null; }
fact memlock shell "$(limits "$root/proc/self/limits")" "$(caps "$root/proc/self/status")"
for file in $(grep -lsai 'vllm' "$root"/proc/[0-9]*/cmdline 2>/dev/null); do
  process=${file%/cmdline}; command=$( { tr '\000' ' ' <"$file"; } 2>/dev/null)
  case $command in
    *heteropd-probe*) ;;
    *vllm.entrypoints*|*"vllm serve"*|*VLLM::*) fact memlock "${process##*/}" "$(limits "$process/limits")" "$(caps "$process/status")" ;;
  esac
done
for name in nvidia_peermem nv_peer_mem; do [ -e "$root/sys/module/$name/version" ] && fact module "$name"; done
for name in nvidia habanalabs; do
  [ -e "$root/sys/module/$name/version" ] && fact driver "$name" "$(line "$root/sys/module/$name/version")"
done
[ -e "$root/proc/driver/nvidia/version" ] && fact nvidia "$(line "$root/proc/driver/nvidia/version")"
for device in "$root"/dev/accel/accel*; do
  [ -e "$device" ] || continue
  if [ -r "$device" ] && [ -w "$device" ]; then fact accel "${device#"$root"}" yes; else fact accel "${device#"$root"}" no; fi
done
ls -l "$root"/proc/[0-9]*/fd 2>/dev/null |
  awk '/^\// {n = split($1, part, "/"); pid = part[n - 1]} $NF ~ /\/dev\/accel\/accel[0-9]/ {print "holder\t" pid "\t" $NF}' | sort -u
if [ -z "$root" ]; then
  command -v ip >/dev/null && ip -o -4 addr show 2>/dev/null |
    awk '{sub("@.*", "", $2); sub("/.*", "", $4); print "inet\t" $2 "\t" $4}'
  [ -n "$SSH_CONNECTION" ] && fact ssh "$(set -- $SSH_CONNECTION; echo "$3")"
  docker=${docker:-unix:///var/run/docker.sock} socket=${docker#unix://}
  # The same JSON from the program and, where there is none, from the socket itself.
  asks() { # PATH of the API, WORDS for the program
    path=$1; shift
    if command -v docker >/dev/null; then within docker -H "$docker" "$@" 2>/dev/null
    elif command -v curl >/dev/null; then within curl -s --unix-socket "$socket" "http://localhost/$path"; fi | tr -d '\n\t'
  }
  if [ "$socket" != "$docker" ] && [ ! -S "$socket" ]; then fact docker absent
  elif [ "$socket" != "$docker" ] && [ ! -w "$socket" ]; then fact docker denied
  else fact docker there "$(asks version version --format '{{json .Server}}')" "$(asks info info --format '{{json .}}')"
  fi
  for name in nvidia-container-runtime-hook nvidia-container-toolkit nvidia-container-cli; do
    command -v $name >/dev/null && fact program $name
  done
  if command -v nvidia-smi >/dev/null; then
    within nvidia-smi --query-gpu=index,name,memory.used,memory.total,driver_version,uuid --format=csv,noheader 2>&1 |
      awk '{print "gpu\t" $0}'
    within nvidia-smi --query-compute-apps=pid,process_name,used_memory,gpu_uuid --format=csv,noheader 2>&1 |
      awk '{print "app\t" $0}'
  fi
  if command -v hl-smi >/dev/null; then
    within hl-smi -Q index,name,memory.used,memory.total,driver_version -f csv,noheader 2>&1 | awk '{print "hpu\t" $0}'
  fi
fi
fact tcp_retries "$(cat "$root/proc/sys/net/ipv4/tcp_retries2" 2>/dev/null)"
fact memory_kib "$(awk '/^MemAvailable/ {print $2}' "$root/proc/meminfo" 2>/dev/null)"
place=$model; [ -d "$place" ] || place=${HF_HOME:-$HOME}; [ -d "$place" ] || place=/
fact disk_kib "$(df -Pk "$place" 2>/dev/null | awk 'NR == 2 {print $4}')" "$place"
fact shm_kib "$(df -Pk "$root/dev/shm" 2>/dev/null | awk 'NR == 2 {print $2}')"
if [ -n "$model" ]; then
  if [ -r "$model/config.json" ]; then
    fact model yes
    # What tells two revisions apart without reading gigabytes: all JSON, and the weights' names and sizes.
    fact model_is "$(cd "$model" && { cat ./*.json; ls -lnL ./*.safetensors ./*.bin ./*.model | awk '{print $5, $NF}'; } 2>/dev/null |
      sha256sum | cut -c 1-12)"
  elif [ -d "$model" ]; then fact model empty; else fact model no; fi
fi
fact clock "$(date +%s.%N)"
fact end
