<%@ page pageEncoding="UTF-8" session="false" trimDirectiveWhitespaces="true" %><%
    HttpSession visit = request.getSession(false);
    if (visit != null) visit.invalidate();
    Cookie cookie = new Cookie("JSESSIONID", "");
    cookie.setPath("/");
    cookie.setMaxAge(0);
    response.addCookie(cookie);
    response.setStatus(303);
    response.setHeader("Location", "/");
%>
