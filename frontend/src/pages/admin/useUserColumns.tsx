// The columns of the users' table, with what the viewer's role may do in each row.

import { MoreOutlined } from "../../widgets/icons";
import { App, Button, Dropdown, Select, Space, type TableColumnsType } from "antd";
import { useQueryClient } from "@tanstack/react-query";
import { Link } from "react-router";
import { patch } from "../../api/client";
import type { Me, Role, User } from "../../api/shapes";
import { useWords } from "../../i18n";
import { RelativeTime } from "../../widgets/RelativeTime";
import { StateTag } from "../../widgets/StateTag";
import { useAction } from "../useAction";

const ROLES: readonly Role[] = ["member", "operator", "administrator"];

interface Options {
  me: Me;
  onGrant: (user: User) => void;
  onLink: (user: User) => void;
}

export function useUserColumns({ me, onGrant, onLink }: Options): TableColumnsType<User> {
  const { text, format } = useWords();
  const words = text.users;
  const { col } = words;
  const { modal } = App.useApp();
  const { run } = useAction();
  const cache = useQueryClient();

  const change = (user: User, changes: Partial<User>) =>
    run(async () => {
      await patch<User>(`/api/users/${user.id}/`, changes);
      await cache.invalidateQueries({ queryKey: ["users"] });
    });
  const shutOut = (user: User) =>
    modal.confirm({
      title: words.shutOutTitle(user.username),
      content: words.shutOutText,
      okText: words.shutOut,
      okButtonProps: { danger: true },
      onOk: () => change(user, { is_active: false }),
    });
  const menuFor = (user: User) => [
    { key: "link", label: words.makeLink, onClick: () => onLink(user) },
    user.is_active
      ? { key: "out", label: words.shutOut, danger: true, onClick: () => shutOut(user) }
      : { key: "in", label: words.letIn, onClick: () => void change(user, { is_active: true }) },
  ];
  const points = (value: number) => format.points(value);
  return [
    {
      title: col.user,
      key: "user",
      render: (_, user) => (
        <>
          <b>{user.display_name || user.username}</b>
          <div className="muted small">
            {user.username}
            {user.email && ` · ${user.email}`}
          </div>
        </>
      ),
    },
    {
      title: col.role,
      key: "role",
      render: (_, user) =>
        me.can.administer && user.id !== me.id ? (
          <Select<Role>
            variant="borderless"
            size="small"
            popupMatchSelectWidth={false}
            aria-label={`${col.role}: ${user.username}`}
            value={user.role}
            onChange={(role) => void change(user, { role })}
            options={ROLES.map((value) => ({ value, label: text.role[value] }))}
          />
        ) : (
          text.role[user.role]
        ),
    },
    {
      title: col.available,
      key: "available",
      align: "right",
      className: "num",
      render: (_, user) => (
        <Link to={`/points?user=${encodeURIComponent(user.username)}`}>
          {points(user.available_mpoints)}
        </Link>
      ),
    },
    {
      title: col.held,
      key: "held",
      align: "right",
      className: "num",
      render: (_, user) => points(user.held_mpoints),
    },
    {
      title: col.seen,
      key: "seen",
      render: (_, user) =>
        user.last_login ? (
          <RelativeTime iso={user.last_login} />
        ) : (
          <span className="muted">{text.never}</span>
        ),
    },
    {
      title: col.state,
      key: "state",
      render: (_, user) => (
        <StateTag
          state={user.is_active ? "ready" : "stopped"}
          word={user.is_active ? words.active : words.inactive}
        />
      ),
    },
    {
      key: "actions",
      align: "right",
      title: <span className="visually-hidden">{text.more}</span>,
      render: (_, user) => (
        <Space>
          {me.can.grant_points && (
            <Button size="small" onClick={() => onGrant(user)}>
              {words.grant}
            </Button>
          )}
          {me.can.administer && (
            <Dropdown menu={{ items: menuFor(user) }} trigger={["click"]}>
              <Button
                size="small"
                icon={<MoreOutlined />}
                aria-label={`${text.more}: ${user.username}`}
              />
            </Dropdown>
          )}
        </Space>
      ),
    },
  ];
}
