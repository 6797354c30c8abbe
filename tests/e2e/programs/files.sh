# coreutils, findutils, tar: trees of files, links, times, sparse files, many processes.
exec 2>&1
mkdir -p tree/a/b/c tree/d
seq 1000 >tree/a/n
seq 5 >"tree/d/with space"
ln -s ../a/n tree/d/link
ln tree/a/n tree/a/hard
ln -s nowhere tree/d/dangling
mkfifo tree/d/fifo
seq 100000 | dd of=tree/a/b/r bs=64k status=none
truncate -s 10M tree/sparse
touch -d '2001-02-03 04:05:06.789' tree/d tree/a/b
chmod 2750 tree/a/b/c
chmod u=rw,go= tree/a/n
find tree -printf '%y %m %n %l %P\n' | sort
find tree -name '* *' -print0 | xargs -0 -n1 wc -l
find tree -type f -exec wc -c {} + | sort | tail -1
find tree -newermt 2001-01-01 ! -newermt 2002-01-01 | sort
find -L tree -xtype l | sort
find tree -empty -o -links 2 -type f | sort
seq 20 | xargs -P4 -I{} sh -c 'echo "x{}"' | sort -V | paste -sd' '
seq 5000 | xargs -n 100 -P 3 echo | wc -w
cp -a tree copy
diff -r tree/a copy/a && echo "copied"
stat -c '%A %h %n' copy/a/n copy/d copy/a/b/c copy/d/link copy/d/fifo
stat -c '%y' copy/d copy/a/b
cp --sparse=always tree/sparse thin
[ "$(stat -c %b thin)" = 0 ] && echo "sparse"
tar cf all.tar tree
tar tf all.tar | sort
mkdir out
tar xf all.tar -C out
diff -r tree/a out/tree/a && stat -c '%y %a' out/tree/d out/tree/a/b
tar czf - tree/a | tar tzf - | wc -l
du -s --apparent-size -b tree/a/n
readlink -f tree/d/link | sed 's,.*/tree,tree,'
realpath -m --relative-to=. ./x/../y
chmod -R go-rwx copy
find copy ! -type l -perm /077 | wc -l
mktemp -d name.XXXXXX | wc -c
rmdir name.*
dd if=/dev/zero of=zeroes bs=1M count=4 conv=fsync 2>&1 | head -2
dd if=/dev/zero of=zeroes bs=1 seek=10 count=5 conv=notrunc status=none
md5sum <zeroes
seq 30000 | shuf | sort -n --parallel=4 -S 1M | md5sum
seq 30000 | sort -R | sort -rn | head -2
seq 10 | split -l 3 - part
wc -l part*
ln -s loop loop
cat loop
mv tree/a moved
mv -n moved copy
install -D -m 700 part_none new/dir/file
install -D -m 700 partaa new/dir/file
stat -c '%a %n' new/dir new/dir/file
echo teed | tee one two >/dev/null
cat one two
tail -f one >followed &
sleep 0.3
echo more >>one
until grep -q more followed; do sleep 0.05; done
kill $!
cat followed
comm -3 <(seq 3) <(seq 2 4)
join <(seq 3) <(seq 2 4)
od -An -tx1 -N4 zeroes
tac partaa | nl | expand
cut -d: -f1 /etc/passwd | head -1
stty -a </dev/null
rm -r copy/a/n copy/none
rmdir new
rm -rf tree copy out new
ls
nice -n 5 nice
env -i A=b env
nohup echo hung up </dev/null | cat
chmod 000 one
[ -e one ] && rm -f one
flock lock -c 'flock -n lock -c "echo twice" || echo "locked"'
stdbuf -oL seq 2
date -u -d @86400 '+%F %T'
touch -h -d @5 loop
stat -c %Y loop
