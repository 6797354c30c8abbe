# perl: fork, pipes, sockets, alarms, locks, sorting, other programs.
use strict;
use warnings;
use Fcntl qw(:flock SEEK_SET);
use File::Find;
use File::Temp qw(tempfile);
use IO::Select;
use IO::Socket::INET;
use POSIX qw(:sys_wait_h strftime);
use Socket;
use Time::HiRes qw(sleep time);
$| = 1;

pipe(my $from, my $to) or die;
my @children = map { my $n = $_; fork // die or do { syswrite $to, "$n\n"; POSIX::_exit($n) } } 1 .. 5;
close $to;
my @told = sort <$from>;
chomp @told;
my $sum = 0;
for (@children) { waitpid $_, 0; $sum += WEXITSTATUS($?) }
print "children @told, statuses $sum, nobody left: ", waitpid(-1, WNOHANG), "\n";

my $server = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1') or die;
if (!fork) { my $c = $server->accept; print $c uc <$c>; close $c; POSIX::_exit(0) }
my $client = IO::Socket::INET->new('127.0.0.1:' . $server->sockport) or die;
print $client "hello\n";
print 'socket ', IO::Select->new($client)->can_read(5) ? scalar <$client> : "silent\n";
wait;

local $SIG{ALRM} = sub { die "alarm\n" };
my $begin = time;
eval { alarm 1; select undef, undef, undef, 20; 1 } or print "select ended by $@";
print 'after a second: ', (time - $begin < 15 ? 'yes' : 'no'), "\n";

my ($file, $name) = tempfile(UNLINK => 1);
flock $file, LOCK_EX or die;
open my $again, '<', $name or die;
print 'second lock: ', (flock($again, LOCK_EX | LOCK_NB) ? 'granted' : 'refused'), "\n";
print $file "line $_\n" for 1 .. 1000;
$file->flush;
seek $file, 0, SEEK_SET;
my @lines = <$file>;
print scalar @lines, " lines of ", -s $name, " bytes\n";

print 'command ', `echo \$((6 * 7))`;
system 'sh', '-c', 'exit 7';
print 'system ', $? >> 8, "\n";
open my $sorted, '-|', 'sort', '-r', '/etc/passwd' or die;
my @users = <$sorted>;
close $sorted;
print 'sorted ', join('', @users) eq join('', reverse sort @users) ? 'yes' : 'no', "\n";
open my $cat, '|-', 'cat' or die;
print $cat "to a program\n";
close $cat;

local $SIG{USR1} = sub { print "signal $_[0]\n" };
kill USR1 => $$;
socketpair my $one, my $two, AF_UNIX, SOCK_STREAM, PF_UNSPEC or die;
syswrite $one, 'pair';
sysread $two, my $got, 100;
print "$got\n";
my %count;
$count{ $_ % 1000 } .= $_ for 1 .. 200000;
print scalar keys %count, " keys\n";
print strftime('%F', gmtime 0), ' ', (getpwuid 0)[7], "\n";
find(sub { print "found $File::Find::name\n" if $_ eq 'passwd' }, '/etc/passwd');
exec 'echo', 'replaced';
