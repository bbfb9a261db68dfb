# heteropd-processes: an engine and its descendants, one fact a line: KEY<TAB>VALUE<TAB>...
# $1: folder to read instead of / (tests), $2: the engine's pid, or 0 for whoever listens on TCP port $3,
# further: names of variables. Only these leave the process's environment: others may be secrets. Of a proxy it is
# said that it is set, and not which: its address may hold a password.
root=$1 leader=$2 port=$3; shift 3
wanted=" $* "
fact() { first=$1; shift; printf '%s' "$first"; for value in "$@"; do printf '\t%s' "$value"; done; echo; }
sockets() { ls -l "$root/proc/$1/fd" 2>/dev/null | sed -n 's/.*socket:\[\([0-9]*\)\].*/\1/p'; }
listening() { awk '$4 == "0A" {print $10, $2}' "$root/proc/net/tcp" "$root/proc/net/tcp6" 2>/dev/null; }

if [ "$leader" = 0 ]; then
  inode=$(listening | awk -v end="$(printf ':%04X' "$port")" 'substr($2, length($2) - 4) == end {print $1; exit}')
  [ -n "$inode" ] && leader=$(ls -l "$root"/proc/[0-9]*/fd 2>/dev/null |
    awk -v end="socket:[$inode]" '/^\// {n = split($1, part, "/"); pid = part[n - 1]} $NF == end {print pid; exit}')
fi
[ -d "$root/proc/${leader:-0}" ] || leader=
fact leader "$leader"
family=$(grep -H '^PPid:' "$root"/proc/[0-9]*/status 2>/dev/null |
  awk -v leader="$leader" '{n = split($1, part, "/"); parent[part[n - 1]] = $2}
    END {for (pid in parent) {up = pid; while (up in parent && up != leader) up = parent[up]; if (up == leader) print pid}}')
[ -n "$leader" ] && tr '\000' '\n' <"$root/proc/$leader/cmdline" 2>/dev/null | awk 'length {print "argument\t" $0}'
[ -n "$leader" ] && for pid in $family; do
  process=$root/proc/$pid
  grep -q '^State:[[:space:]]*[ZX]' "$process/status" 2>/dev/null && continue  # ended: it has no facts any more
  fact process "$pid" "$(cat "$process/comm" 2>/dev/null)"
  fact memlock "$pid" "$(awk '/^Max locked memory/ {print $4}' "$process/limits" 2>/dev/null)" \
    "$(awk '/^CapEff/ {print $2}' "$process/status" 2>/dev/null)"
  if content=$( { tr '\000' '\n' <"$process/environ"; } 2>/dev/null); then
    # A process that gives itself a title may write over its environment, which is then empty.
    if [ -n "$content" ]; then fact environment "$pid" read; else fact environment "$pid" overwritten; fi
    printf '%s\n' "$content" | awk -v pid="$pid" -v wanted="$wanted" '{
      at = index($0, "="); name = substr($0, 1, at - 1)
      value = tolower(name) ~ /^(http|https|all)_proxy$/ ? "set" : substr($0, at + 1)
      if (at > 1 && index(wanted, " " name " ")) print "variable\t" pid "\t" name "\t" value}'
  fi
  if content=$(cat "$process/maps" 2>/dev/null) && [ -n "$content" ]; then
    fact maps "$pid" read
    printf '%s\n' "$content" | awk -v pid="$pid" '$6 ~ /\/lib[a-z]+[-.][^\/]*$/ && !seen[$6]++ {print "library\t" pid "\t" $6}' |
      grep -E '/lib(nixl|uc[pst]|ibverbs)[-.]'
  fi
  ls "$process/fd/" >/dev/null 2>&1 && fact sockets "$pid" read
  { sockets "$pid"; echo --; listening; } | awk -v pid="$pid" '
    $1 == "--" {table = 1; next} !table {own[$1] = 1; next} $1 in own {print "listen\t" pid "\t" $2}'
done
fact end
