class Lift {
    private int floor;

    void up() {
        floor++;

        log("up");
    }

    void down() {
        if (floor == 0) {
            throw new IllegalStateException("at the bottom");
        }

        floor--;
        log("down");
    }

    void to(int target) {
        while (floor < target) {
            up();
        }

        while (floor > target) {
            down();
        }
    }

    private void log(String what) {
        System.out.println(what + " " + floor);
    }
}
