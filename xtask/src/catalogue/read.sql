select coalesce(json_agg(found order by name), '[]')
from (
    select c.relname as name,
           obj_description(c.oid) as comment,
           c.relkind = 'p' as partitioned,
           (
               select json_agg(json_build_object(
                   'name', a.attname,
                   'type', format_type(a.atttypid, a.atttypmod),
                   'not_null', a.attnotnull,
                   'default', pg_get_expr(d.adbin, d.adrelid),
                   'comment', col_description(c.oid, a.attnum)
               ) order by a.attnum)
               from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
               where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
           ) as columns,
           coalesce((
               select json_agg(json_build_object(
                   'name', i.relname,
                   'is_primary', x.indisprimary,
                   'is_unique', x.indisunique,
                   'nulls_alike', x.indnullsnotdistinct,
                   'parts', (
                       select json_agg(json_build_object(
                           'text', pg_get_indexdef(x.indexrelid, k::integer, true),
                           'is_column', x.indkey[k - 1] <> 0,
                           'descending', x.indoption[k - 1] & 1 = 1
                       ) order by k)
                       from generate_series(1, x.indnkeyatts) k
                   ),
                   'method', m.amname,
                   'only_where', pg_get_expr(x.indpred, x.indrelid, true)
               ) order by not x.indisprimary, i.relname)
               from pg_index x join pg_class i on i.oid = x.indexrelid join pg_am m on m.oid = i.relam
               where x.indrelid = c.oid
           ), '[]') as indexes,
           coalesce((
               select json_agg(json_build_object(
                   'name', k.conname,
                   'columns', (
                       select json_agg(a.attname order by n) from unnest(k.conkey) with ordinality part (number, n)
                       join pg_attribute a on a.attrelid = k.conrelid and a.attnum = part.number
                   ),
                   'table', f.relname,
                   'table_columns', (
                       select json_agg(a.attname order by n) from unnest(k.confkey) with ordinality part (number, n)
                       join pg_attribute a on a.attrelid = k.confrelid and a.attnum = part.number
                   ),
                   'on_delete', case k.confdeltype
                       when 'c' then 'cascade' when 'n' then 'set null' when 'd' then 'set default'
                       when 'r' then 'restrict' else 'no action' end
               ) order by k.conname)
               from pg_constraint k join pg_class f on f.oid = k.confrelid
               where k.conrelid = c.oid and k.contype = 'f' and k.conparentid = 0
           ), '[]') as foreign_keys,
           coalesce((
               select json_agg(json_build_object('name', k.conname, 'rule', pg_get_expr(k.conbin, k.conrelid, true)) order by k.conname)
               from pg_constraint k where k.conrelid = c.oid and k.contype = 'c'
           ), '[]') as checks
    from pg_class c
    where c.relnamespace = 'ops'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
) found
