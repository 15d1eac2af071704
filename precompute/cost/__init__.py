"""The one cost model: work (gradients, forward passes, products) times a pace that is measured, kept or projected."""
