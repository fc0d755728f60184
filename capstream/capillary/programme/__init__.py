"""The loyalty programme of the simulator: retail bills in, Capillary events out. Clock and chance follow from input and seed."""
