# bash: pipelines, here documents, job control, traps, background jobs.
exec 2>&1
printf '%s\n' c a b | sort | tr a-z A-Z | paste -sd,
cat <<EOF | wc -w
here $((6 * 7)) document
EOF
cat <<<"a here string"
false | true | (exit 3) | true
echo "statuses ${PIPESTATUS[*]}"
set -o pipefail
false | true
echo "pipefail $?"
yes | head -1000 | tail -1
diff <(seq 3) <(seq 4)
tee >(wc -c >counted) </etc/passwd >copied
until [ -s counted ]; do sleep 0.05; done
[ "$(cat counted)" = "$(wc -c <copied)" ] && echo "tee into a substituted process"
[ -p /dev/stdin ] || echo "no pipe"
true | { [ -p /dev/stdin ] && echo "a pipe"; }
mapfile -t lines < <(seq 5)
echo "${#lines[@]} lines"
exec 9<>/dev/null 8>numbered
echo text >&8
echo "$(<numbered) by descriptor"

trap 'echo "trapped USR1"' USR1
kill -USR1 $$
(trap 'echo "trapped CHLD"' CHLD; /bin/true; echo after)
(trap 'echo "trapped TERM"; exit 4' TERM; kill -TERM $BASHPID; sleep 5)
echo "exit $?"
trap '' INT
kill -INT $$
echo "ignored INT"
trap - INT
{ (kill -SEGV $BASHPID); } 2>/dev/null
echo "segv $?"

(exit 3) &
wait $!
echo "waited $?"
for i in 3 2 1; do (until [ -e "turn$i" ]; do sleep 0.05; done; echo "background $i"; : >"turn$((i + 1))") & done
: >turn1
wait
(sleep 0.2; exit 7) & (sleep 30) &
wait -n
echo "first $?"
kill %%
wait
wait 99999
echo "nobody $?"

set -m
sleep 100 &
job=$!
jobs
kill -STOP %%
until jobs | grep -q Stopped; do sleep 0.05; done
jobs
bg %%
jobs
kill $job
wait $job
echo "killed $?"
sh -c 'kill -STOP $$; echo continued' &
until jobs | grep -q Stopped; do sleep 0.05; done
fg %%
set +m

coproc tr a-z A-Z
echo coprocess >&"${COPROC[1]}"
eval "exec ${COPROC[1]}>&-"
cat <&"${COPROC[0]}"
wait

timeout 0.3 sleep 10
echo "timeout $?"
{ timeout -k 0.2 0.2 sh -c 'trap "" TERM; while :; do sleep 0.1; done'; } 2>/dev/null
echo "killed $?"
read -r -t 0.2 line < <(sleep 1)
echo "read timed out $(($? > 128))"
ulimit -f 8
(trap '' XFSZ; head -c 100000 /dev/zero >big)
wc -c <big
exec 3>&1
(echo "descriptor $(readlink /proc/self/fd/9)") >&3
set -C
echo x >numbered || echo "not overwritten"
umask 027
: >private
stat -c %a private
trap 'echo "at exit"' EXIT
exit 5
