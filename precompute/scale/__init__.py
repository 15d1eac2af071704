"""The pass over the tracks by many processes of one machine, or by actors of Ray on many; `run` then finds it done."""
