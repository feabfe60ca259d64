"""What every learned optimizer shares: state, guard, stacks, the way through a tree."""
