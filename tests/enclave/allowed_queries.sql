-- What people write, a query a line: an allow-list that refuses one of these is too short.
SELECT * FROM allowed
SELECT a.*, b.id AS other FROM allowed a LEFT JOIN Allowed b USING (name)
SELECT DISTINCT upper(name) FROM allowed WHERE name LIKE 'a%' OR name RLIKE '^b' OR name IS NULL
SELECT id, CASE WHEN id > 1 THEN 'x' ELSE name END, coalesce(name, '-'), nvl(name, ''), if(id = 1, 2, 3) FROM allowed
SELECT count(*), count(DISTINCT name), sum(id), avg(id), stddev(id), percentile_approx(id, 0.5) FROM allowed
SELECT approx_count_distinct(id), collect_list(name), max_by(name, id), mode(id), listagg(name, ',') FROM allowed
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY id), count_if(id > 1), any_value(name) FROM allowed
SELECT name, grouping(name), sum(id) FROM allowed GROUP BY ROLLUP (name)
SELECT name, id, count(*) FROM allowed GROUP BY GROUPING SETS ((name), (id), ())
SELECT id, sum(id) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW), lag(name) OVER (ORDER BY id) FROM allowed
SELECT id FROM allowed QUALIFY row_number() OVER (ORDER BY id DESC) = 1
SELECT id FROM allowed UNION ALL SELECT id FROM allowed EXCEPT SELECT 1 INTERSECT SELECT 2
SELECT id FROM allowed WHERE EXISTS (SELECT 1 FROM allowed b WHERE b.id = allowed.id + 1)
SELECT id, (SELECT max(id) FROM allowed b WHERE b.id <= a.id) FROM allowed a ORDER BY ALL LIMIT 2 OFFSET 1
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5) SELECT * FROM n
WITH a AS (SELECT 1 AS x), b AS (SELECT x + 1 AS y FROM a) SELECT * FROM a, b
SELECT * FROM VALUES (1, 'x'), (2, 'y') AS t(a, b)
SELECT * FROM allowed TABLESAMPLE (50 PERCENT)
SELECT id, e FROM allowed LATERAL VIEW OUTER explode(array(1, 2)) t AS e
SELECT inline(array(struct(1 AS a, 2 AS b)))
SELECT * FROM allowed PIVOT (sum(id) FOR name IN ('a', 'b'))
SELECT * FROM (SELECT 1 AS a, 2 AS b) UNPIVOT (v FOR k IN (a, b))
SELECT date_trunc('month', at), extract(YEAR FROM at), at + INTERVAL 1 DAY, datediff(at, DATE'2020-01-01') FROM allowed
SELECT current_date() > DATE'2020-01-01', now() IS NOT NULL, to_date('2020-01-02'), date_format(at, 'yyyy') FROM allowed
SELECT window.start, count(*) FROM allowed GROUP BY window(at, '1 hour')
SELECT transform(array(3, 1), x -> x + 1), filter(array(1), x -> x > 0), aggregate(array(1), 0, (a, x) -> a + x)
SELECT map('a', 1)['a'], named_struct('x', 1).x, array(1)[0], sort_array(array(2, 1)), map_keys(map(1, 2))
SELECT get_json_object('{"a":1}', '$.a'), from_json('{"a":1}', 'a INT'), to_json(struct(1 AS a)), parse_json('{}'):a
SELECT from_csv('1', 'a INT'), split('a,b', ','), regexp_replace('ab', 'a', 'b'), concat_ws('-', 'a'), 'a' || 'b'
SELECT sha2('x', 256), md5('x'), hex('x'), base64('x'), aes_encrypt('x', '0123456789abcdef'), hash(1), xxhash64(1)
SELECT CAST('1' AS DECIMAL(10, 2)) / 3, 1 DIV 2, 7 % 3, round(2.5), try_divide(1, 0), ceil(1.2, 1), rand(1) < 2
SELECT trim(BOTH 'x' FROM 'xax'), position('a' IN 'ba'), substring('abc' FROM 2), overlay('abc' PLACING 'x' FROM 1)
SELECT typeof(1), uuid() IS NOT NULL, monotonically_increasing_id() FROM allowed
SELECT 'a' COLLATE UTF8_LCASE = 'A', width_bucket(1, 0, 2, 4), id IS NOT DISTINCT FROM 1, (id = 1) IS UNKNOWN FROM allowed
SELECT /*+ BROADCAST(b) */ a.id FROM allowed a JOIN allowed b ON a.id = b.id
SELECT * EXCEPT (name) FROM allowed SORT BY id
FROM allowed |> WHERE id > 1 |> AGGREGATE count(*) AS n
SELECT id AS x, x + 1 AS y FROM allowed
SELECT try_cast('x' AS INT), TIMESTAMP'2020-01-01 00:00:00' - TIMESTAMP'2019-01-01 00:00:00', make_date(2020, 1, 1)
