-- luajit: compiled loops (executable memory), calls into C, coroutines, files, other programs.
local ffi = require "ffi"
ffi.cdef [[ int getpid(void); size_t strlen(const char *); int kill(int, int); void *mmap(void *, size_t, int, int, int, long); ]]
print("C", ffi.C.getpid() > 0, tonumber(ffi.C.strlen("twelve bytes")))
local sum = 0
for i = 1, 5e7 do sum = sum + i % 7 end
print("loop", sum, (jit.status()))
local next = coroutine.wrap(function() for i = 1, 3 do coroutine.yield(i) end end)
print("coroutine", next(), next(), next())
print("error", pcall(error, "caught", 0))
local name = os.tmpname()
local f = assert(io.open(name, "w"))
for i = 1, 1000 do f:write(i, "\n") end
f:close()
local n = 0
for line in io.lines(name) do n = n + tonumber(line) end
print("file", n, os.remove(name), (io.open(name)))
print("program", io.popen("echo $((6 * 7))"):read("*n"), os.execute("exit 3"))
local a = ffi.cast("char *", ffi.C.mmap(nil, 4096, 3, 0x22, -1, 0))
ffi.copy(a, "mapped")
print("memory", ffi.string(a))
os.exit(9)
