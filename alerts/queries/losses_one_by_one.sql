SELECT collected_at, loss, service, instance, boot_id, first_seq, last_seq, events FROM losses
WHERE collected_at >= toDateTime({since_s:UInt32}) ORDER BY collected_at DESC LIMIT 10000
