"""What the command line is: flags that fit together, and several processes that become one run."""
