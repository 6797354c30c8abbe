# busybox: its own versions of everything, as links in one directory.
exec 2>&1
mkdir bin
busybox --install -s bin
PATH=$PWD/bin
seq 5 | awk '{ s += $1 } END { print s }'
echo abc | sed s/b/X/
httpd -f -p 127.0.0.1:8088 -h . &
server=$!
echo page >page.html
i=0
while ! wget -q -O - http://127.0.0.1:8088/page.html 2>/dev/null && [ $((i += 1)) -lt 50 ]; do usleep 100000; done
kill $server
mkfifo held # standard input of the server, never at its end: that would end the connection
nc -l -p 8099 <>held >got &
i=0
until echo net | nc 127.0.0.1 8099 2>/dev/null || [ $((i += 1)) -ge 100 ]; do usleep 100000; done
wait
cat got
ip -o addr show dev lo | awk '{ print $3, $4 }'
ip link show lo | head -1 | awk '{ print $2, $3 }'
ip route show dev lo
ifconfig lo | awk '/inet addr/ { print $2 }'
tar cf t.tar page.html
tar tvf t.tar | awk '{ print $1, $3, $6 }'
gzip -c page.html | zcat
find . -maxdepth 1 -name 'p*'
xargs echo <page.html
mkfifo ff
echo fifo >ff &
cat ff
kill -l 9
setsid echo session
taskset -p $$ >/dev/null && echo affinity
ps -o comm | grep -cx ps
test "$(free | awk '/Mem/ { print ($2 > $3) }')" = 1 && echo memory
dd if=/dev/zero bs=1k count=2 2>/dev/null | wc -c
stat -c '%s %a' page.html
