CREATE TEMPORARY VIEW numbers AS VALUES (5), (11) AS pairs(number);
VALUES ('${label}', 5 * 11);
