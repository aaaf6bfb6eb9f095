"""`python -m repro.verl STUDY FOLDER`: see `repro.verl.data`."""

from repro.verl.data import main

main()
