#!/bin/busybox sh
# Stands where an Odoo would be: the same command line and configuration file, the same log format, the tables that a
# judge reads, a web server on 8069. It starts in milliseconds, which is all that it is for.
#
# What it prints can be checked: the first line names the container, lines are numbered, and where it ends by itself
# the last line has the count and the SHA-256 of all lines before it, taken from a copy in memory: the disk may be full.
set -u
b=/bin/busybox
host=$($b hostname)
init= stop= config=/etc/odoo/odoo.conf
for argument in "$@"; do
    case $argument in
        --config=*) config=${argument#*=} ;;
        --init=*) init=${argument#*=} ;;
        --stop-after-init) stop=yes ;;
    esac
done
setting() { $b sed -n "s/^$1 = //p" "$config"; }
database=$(setting db_name)
PGHOST=$(setting db_host) PGUSER=$(setting db_user) PGPASSWORD=$(setting db_password) PGDATABASE=$database
export PGHOST PGUSER PGPASSWORD PGDATABASE
sql() { /bin/psql --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1; }

# A line as Odoo prints it.
say() { echo "$($b date -u '+%Y-%m-%d %H:%M:%S'),000 1 INFO $database $1"; }

# Numbered lines, in portions, so that they take some time: from, to, lines in a portion, pause in microseconds.
number() {
    from=$1
    while [ "$from" -lt "$2" ]; do
        $b awk -v n="$from" -v count="$3" -v host="$host" -v database="$database" \
            -v now="$($b date -u '+%Y-%m-%d %H:%M:%S')" 'BEGIN {
                for (i = 0; i < count; i++) {
                    printf "%s,%03d 1 INFO %s odoo.modules.loading: %s line %d of many, check %d\n",
                        now, i % 1000, database, host, n + i, ((n + i) * 7919 + 13) % 1000003
                }
            }'
        from=$((from + $3))
        $b usleep "$4"
    done
}

tables="
create table public.ir_config_parameter (key text primary key, value text, create_uid int, create_date timestamp,
    write_uid int, write_date timestamp);
create table public.res_users (id int primary key, login text, password text);
insert into public.res_users values (2, 'admin', 'admin');
create table public.ir_model_data (module text, name text, model text, res_id int);
insert into public.ir_model_data values ('base', 'user_admin', 'res.users', 2);
create table public.ir_module_module (name text primary key, state text);
create table public.stand_in (id serial primary key, what text, container text);
"

install() {
    say "odoo: Odoo version 19.0 in $host"
    for module in $(echo "$init" | $b tr , ' '); do
        [ "$module" = base ] && echo "$tables"
        echo "insert into public.ir_module_module values ('$module', 'installed')
              on conflict (name) do update set state = excluded.state;"
    done > /tmp/modules.sql
    echo "insert into public.stand_in (what, container) values ('install $init', '$host');" >> /tmp/modules.sql
    number 1 500 250 100000
    sql < /tmp/modules.sql 2>&1 || { echo "the database refuses"; return 1; }
    number 501 2000 250 50000
    say "odoo.modules.loading: Modules loaded."
    say "odoo.service.server: Initiating shutdown"
}

if [ -n "$stop" ]; then
    said=/tmp/said
    { install; echo $? > /tmp/code; } | $b tee "$said"
    sum=$($b sha256sum < "$said")
    say "odoo.stand_in: $host said $($b wc -l < "$said") lines, sha256 ${sum%% *}"
    exit "$($b cat /tmp/code)"
fi

trap 'exit 0' TERM
say "odoo: Odoo version 19.0 in $host"
echo "insert into public.stand_in (what, container) values ('serve', '$host')" | sql 2>&1
say "odoo.service.server: HTTP service running on $host:8069"
$b httpd -f -p 8069 -h /srv/www &
next=1
while true; do
    number "$next" "$((next + 20))" 20 200000
    next=$((next + 20))
done
