"""The one cost model: time, memory and disk, measured or projected."""
