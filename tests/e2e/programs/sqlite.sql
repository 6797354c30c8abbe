.timeout 5000
pragma journal_mode = wal;
create table t (id integer primary key, v text);
with recursive n (x) as (select 1 union all select x + 1 from n where x < 50000)
    insert into t select x, printf('row %d', x) from n;
create index i on t (v);
select count(*), sum(id), max(v) from t;
begin;
delete from t where id % 2 = 0;
rollback;
delete from t where id % 3 = 0;
pragma wal_checkpoint(truncate);
pragma journal_mode = delete;
vacuum;
pragma mmap_size = 100000000;
select count(*), total(length(v)) from t;
pragma integrity_check;
.backup copy.db
attach 'copy.db' as c;
select (select count(*) from c.t) = (select count(*) from t);
create virtual table words using fts5 (body);
insert into words select v from t limit 1000;
select count(*) from words where words match 'row';
.shell ls *.db
