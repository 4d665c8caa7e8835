<%@ page pageEncoding="UTF-8" %><%@ include file="/WEB-INF/visit.jspf" %><%
    // As long as nobody knows whether the client takes cookies, links carry the id.
    response.setContentType("text/html; charset=utf-8");
%><a href="<%= response.encodeURL("/whoami") %>">who</a>
