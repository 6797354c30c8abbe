# gcc, make: what they build runs where it was built.
exec 2>&1
cat >part.c <<'C'
#include <math.h>
#include <pthread.h>
#include <stdio.h>
static void *root(void *x) { *(double *)x = sqrt(*(double *)x); return x; }
double threaded(double x) { pthread_t t; pthread_create(&t, NULL, root, &x); pthread_join(t, NULL); return x; }
C
cat >main.c <<'C'
#include <stdio.h>
double threaded(double x);
int main(int argc, char **argv) { printf("%s %d %.4f\n", argv[1], argc, threaded(2)); return 5; }
C
cat >Makefile <<'M'
program: main.o libpart.a
	gcc -o $@ $^ -lm -pthread
libpart.a: part.o
	ar rcs $@ $^
%.o: %.c
	gcc -O2 -Wall -c -o $@ $<
M
make -s -j4
./program argument
echo "status $?"
make
gcc -static -pipe -o static main.c part.c -lm && ./static alone
gcc -shared -fPIC -o libpart.so part.c && gcc -o dynamic main.c -L. -lpart -Wl,-rpath,. -lm && ./dynamic shared
echo 'int main(void) { return undeclared; }' | gcc -x c - -o wrong 2>/dev/null || echo "refused"
nm libpart.a | grep -c ' T threaded'
