// The top of every page: commands, what runs now, the balance, language, theme and the person.

import { SearchOutlined, UserOutlined, WalletOutlined } from "../../widgets/icons";
import { Button, Dropdown, Grid, Layout, Tooltip } from "antd";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { Link, useNavigate } from "react-router";
import { queries } from "../../api/queries";
import { signOut } from "../../api/session";
import type { Me } from "../../api/shapes";
import { useWords } from "../../i18n";
import { LinkButton } from "../../widgets/LinkButton";
import { openPalette } from "./CommandPalette";
import { LookSwitches } from "./LookSwitches";
import { Tray } from "./Tray";

export function TopBar({ me, menuButton }: { me: Me; menuButton: ReactNode }) {
  const { text, format } = useWords();
  const { data: points } = useQuery(queries.points());
  const screens = Grid.useBreakpoint();
  const isWide = screens.md ?? true;
  const available = points ? format.points(points.available_mpoints) : "";
  return (
    <Layout.Header className="shell-header">
      {menuButton}
      <Button
        className={isWide ? "palette-button" : ""}
        type={isWide ? "default" : "text"}
        icon={<SearchOutlined />}
        aria-label={text.shell.palette.open}
        onClick={openPalette}
      >
        {isWide && (
          <>
            {text.shell.palette.open}
            <span className="kbd">Ctrl K</span>
          </>
        )}
      </Button>
      <span className="grow" />
      <Tray />
      <Tooltip title={text.shell.balance(available)}>
        <LinkButton
          to="/points"
          type="text"
          icon={<WalletOutlined />}
          className="num"
          aria-label={text.shell.balance(available)}
        >
          {available}
        </LinkButton>
      </Tooltip>
      {isWide && <LookSwitches />}
      <AccountMenu me={me} hasLook={!isWide} />
    </Layout.Header>
  );
}

function AccountMenu({ me, hasLook }: { me: Me; hasLook: boolean }) {
  const { text } = useWords();
  const cache = useQueryClient();
  const navigate = useNavigate();

  const leave = async () => {
    await signOut();
    cache.clear();
    cache.setQueryData(queries.me().queryKey, null);
    await navigate("/sign-in");
  };
  const items = [
    { key: "profile", label: <Link to="/profile">{text.shell.account.profile}</Link> },
    {
      key: "docs",
      label: (
        <a href="/api/docs/" target="_blank" rel="noreferrer">
          {text.shell.account.docs}
        </a>
      ),
    },
    { type: "divider" as const },
    { key: "out", label: text.shell.account.signOut, onClick: () => void leave() },
  ];
  return (
    <Dropdown
      trigger={["click"]}
      menu={{ items }}
      popupRender={(menu) => (
        <div
          className="ant-dropdown-menu"
          style={{ padding: 0, boxShadow: "var(--ant-box-shadow-secondary)" }}
        >
          <div style={{ padding: "10px 14px 4px" }}>
            <b>{me.display_name || me.username}</b>
            <div className="muted small">{text.role[me.role]}</div>
          </div>
          {hasLook && <LookSwitches />}
          {menu}
        </div>
      )}
    >
      <Button type="text" icon={<UserOutlined />} aria-label={text.shell.account.open} />
    </Dropdown>
  );
}
