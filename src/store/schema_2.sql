-- A multi-Region key says where its relatives are. Before, it was a primary key without any.
UPDATE documents SET body = json_set(body, '$.multi_region', json_object('primary', json_extract(body, '$.region')))
    WHERE kind = 'key' AND json_extract(body, '$.multi_region') = 1;
UPDATE documents SET body = json_remove(body, '$.multi_region')
    WHERE kind = 'key' AND json_type(body, '$.multi_region') IN ('true', 'false');
