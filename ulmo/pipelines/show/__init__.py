"""ulmo show: a recording through the front ends, as a picture."""
