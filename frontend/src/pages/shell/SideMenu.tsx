// The places on the left; what operators see stands below a line.

import { Menu } from "antd";
import { Link, useLocation } from "react-router";
import type { Me } from "../../api/shapes";
import { useWords } from "../../i18n";
import { destinationsFor, type Destination } from "./destinations";

const toItem = ({ path, name, icon }: Destination) => ({
  key: path,
  icon,
  label: <Link to={path}>{name}</Link>,
});

export function SideMenu({ me, onGo }: { me: Me; onGo?: () => void }) {
  const { text } = useWords();
  const { pathname } = useLocation();
  const places = destinationsFor(me, text);
  const first = `/${pathname.split("/")[1] ?? ""}`;
  const here = first === "/launch" ? "/jobs" : first;
  const operators = places.filter((place) => place.isOperators).map(toItem);
  return (
    <nav aria-label={text.shell.nav.label}>
      <Menu
        mode="inline"
        selectedKeys={[here]}
        onClick={onGo}
        style={{ borderInlineEnd: 0 }}
        items={[
          ...places.filter((place) => !place.isOperators).map(toItem),
          ...(operators.length ? [{ type: "divider" as const, key: "line" }, ...operators] : []),
        ]}
      />
    </nav>
  );
}
