"""Files of the field (RTTM, UEM, audio), records, atomic writes and errors: imported by all other modules."""
