"""python -m zen_edge"""

from zen_edge.cli import main

if __name__ == "__main__":
    main()
