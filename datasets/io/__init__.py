"""Files of the field (RTTM, UEM, audio), records, atomic writes and errors: what every other module may import."""
