# /dev/stdin and its kin, whatever they are: pipes, files, what the command's own streams are.
echo one | tee /dev/stdout | sort
echo two | cat /dev/stdin
echo three | cat /dev/fd/0
cat <(echo four)
echo five | (exec 3<&0; cat /proc/self/fd/3)
echo six > /dev/stdout
echo seven > file; cat /dev/stdin < file
exec 4< file; rm file; cat /dev/fd/4; cat /dev/fd/4
(echo eight > /dev/stderr) 2>&1 | tr a-z A-Z
echo nine | tee -a /dev/stderr 2>&1 >/dev/null | cat
echo ten >> /dev/stderr && echo to stderr
cat /dev/stdin </dev/null && echo nothing
export LANG=C.UTF-8
perl -e 'use POSIX; print setlocale(LC_ALL, ""), "\n"' 2>&1
bash -c 'x=$(printf "\303\244\303\266"); echo ${#x}' 2>&1
printf '\303\244b\n' | wc -m
